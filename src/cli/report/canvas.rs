//! A picture of dots for a terminal: in braille, eight dots a character, or in ASCII, one.
//!
//! Owns dots and characters; what they mean is its caller's.

use std::fmt;

/// How dots are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Ink {
    /// Two by four dots in each character.
    Braille,
    /// One dot in each.
    Ascii,
}

impl Ink {
    /// How many dots a character is wide and high.
    fn dots(self) -> (usize, usize) {
        match self {
            Self::Braille => (2, 4),
            Self::Ascii => (1, 1),
        }
    }

    /// What a point that stands out looks like.
    pub(in super::super) fn mark(self) -> char {
        match self {
            Self::Braille => '●',
            Self::Ascii => 'o',
        }
    }

    /// A piece of a line.
    pub(in super::super) fn line(self) -> char {
        match self {
            Self::Braille => '⠒',
            Self::Ascii => '.',
        }
    }
}

/// The numbers of the dots in a braille character, row by row.
const BRAILLE: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// A picture of a fixed size. Places are parts of its width and height, 0 to 1, from the lower
/// left; what lies outside is not drawn.
pub(in super::super) struct Canvas {
    ink: Ink,
    columns: usize,
    rows: usize,
    /// The dots of each character, row by row from above.
    dots: Vec<u8>,
    marks: Vec<bool>,
}

impl Canvas {
    /// An empty one of so many characters.
    pub(in super::super) fn new(ink: Ink, columns: usize, rows: usize) -> Self {
        let all = columns * rows;
        Self { ink, columns, rows, dots: vec![0; all], marks: vec![false; all] }
    }

    /// A straight line.
    pub(in super::super) fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (wide, high) = self.ink.dots();
        let across = (to.0 - from.0).abs() * (self.columns * wide - 1) as f64;
        let up = (to.1 - from.1).abs() * (self.rows * high - 1) as f64;
        // A line that is no number has no dots.
        let steps = across.max(up).ceil().clamp(1.0, 10_000.0);
        for step in 0..=steps as usize {
            let part = step as f64 / steps;
            let at = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
            if let Some((cell, x, y)) = self.find(at) {
                self.dots[cell] |= BRAILLE[y][x];
            }
        }
    }

    /// A point that stands out, above all lines.
    pub(in super::super) fn mark(&mut self, at: (f64, f64)) {
        if let Some((cell, ..)) = self.find(at) {
            self.marks[cell] = true;
        }
    }

    /// The character at a place, and the dot in it.
    fn find(&self, at: (f64, f64)) -> Option<(usize, usize, usize)> {
        let (wide, high) = self.ink.dots();
        let inside = (0.0..=1.0).contains(&at.0) && (0.0..=1.0).contains(&at.1);
        let place = |part: f64, dots: usize| (part * (dots - 1) as f64).round() as usize;
        inside.then(|| {
            let x = place(at.0, self.columns * wide);
            let y = place(1.0 - at.1, self.rows * high);
            (y / high * self.columns + x / wide, x % wide, y % high)
        })
    }

    /// In which row, from above, something at this height is drawn.
    pub(in super::super) fn row(&self, height: f64) -> Option<usize> {
        self.find((0.0, height)).map(|(cell, ..)| cell / self.columns)
    }

    /// In which column something at this part of the width is drawn.
    pub(in super::super) fn column(&self, part: f64) -> Option<usize> {
        self.find((part, 1.0)).map(|(cell, ..)| cell % self.columns)
    }

    /// The rows, from above, without the space at their ends.
    pub(in super::super) fn rows(&self) -> impl Iterator<Item = String> {
        let cells = self.dots.iter().zip(&self.marks).map(|(dots, mark)| match (mark, self.ink) {
            (true, ink) => ink.mark(),
            (false, _) if *dots == 0 => ' ',
            (false, Ink::Ascii) => Ink::Ascii.line(),
            (false, Ink::Braille) => char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' '),
        });
        let cells: Vec<char> = cells.collect();
        let rows: Vec<String> =
            cells.chunks(self.columns).map(|row| row.iter().collect::<String>()).collect();
        rows.into_iter().map(|row| row.trim_end().to_owned())
    }
}

impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().try_for_each(|row| writeln!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let mut ascii = Canvas::new(Ink::Ascii, 4, 4);
        ascii.line((0.0, 0.0), (1.0, 1.0));
        assert_eq!(ascii.to_string(), "   .\n  .\n .\n.\n");
        let mut braille = Canvas::new(Ink::Braille, 2, 1);
        braille.line((0.0, 0.0), (1.0, 1.0));
        assert_eq!(braille.to_string(), "⡠⠊\n");
        let mut flat = Canvas::new(Ink::Braille, 3, 1);
        flat.line((0.0, 0.0), (1.0, 0.0));
        assert_eq!(flat.to_string(), "⣀⣀⣀\n");
    }

    #[test]
    fn a_mark_is_above_the_line() {
        let mut canvas = Canvas::new(Ink::Ascii, 5, 1);
        canvas.line((0.0, 0.5), (1.0, 0.5));
        canvas.mark((0.5, 0.5));
        assert_eq!(canvas.to_string(), "..o..\n");
        assert_eq!((canvas.row(0.5), canvas.column(1.0)), (Some(0), Some(4)));
    }

    #[test]
    fn what_is_outside_or_no_number_is_not_drawn() {
        let mut canvas = Canvas::new(Ink::Braille, 3, 2);
        canvas.line((2.0, 2.0), (3.0, 3.0));
        canvas.line((f64::NAN, 0.0), (f64::INFINITY, 0.0));
        canvas.mark((0.5, -0.1));
        canvas.mark((f64::NAN, 0.5));
        assert_eq!(canvas.to_string(), "\n\n");
        assert_eq!(canvas.row(1.5), None);
    }
}
