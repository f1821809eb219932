//! How many clients the limit of open files allows.
//!
//! Pure arithmetic; the command line asks the kernel for the limit.

use crate::server::{LINGERING, most_lingering};

/// Standard input, output and error.
const STDIO: usize = 3;
/// Two engines (the service's and the endpoint's) with the workers' epoll and the accept loop's.
const EPOLLS: usize = 4;
/// Each engine's wake-up, stop and accept-loop eventfds.
const EVENTFDS: usize = 6;
/// The two ends of the signal handlers' pipe.
const SIGNALS: usize = 2;
/// The side endpoint's listener, its connections, and as many that it is closing.
const ENDPOINT: usize = 1 + 2 * 64;
/// What is open for a moment: `/proc` during a scrape, the configuration during a reload, a socket
/// that was accepted only to be refused.
const RESERVE: usize = 32;
/// Fits `max_connections` to a limit of `open_files`, given the number of `listeners` (without the
/// endpoint's) and of `workers`, each of which may hold one file or socket for its handler.
///
/// A number that somebody chose (`explicit`) is kept or refused. The default is lowered to what
/// fits, and comes with a warning for the operator.
///
/// # Errors
///
/// The limit is too low for an explicit number, or for any connection at all.
pub(crate) fn fit_connections(
    max_connections: usize,
    explicit: bool,
    open_files: u64,
    listeners: usize,
    workers: usize,
) -> Result<(usize, Option<String>), String> {
    let fixed = STDIO + EPOLLS + EVENTFDS + SIGNALS + ENDPOINT + RESERVE + listeners + workers;
    let free = usize::try_from(open_files).unwrap_or(usize::MAX).saturating_sub(fixed);
    // Beside the connections, those that are closed, and whose last input is still read.
    let fits = |count: &usize| count.saturating_add(most_lingering(*count)) <= free;
    if fits(&max_connections) {
        return Ok((max_connections, None));
    }
    let beside = |closing: &usize| free.saturating_sub(*closing);
    let most = [beside(LINGERING.start()), free / 2, beside(LINGERING.end())];
    let fitting = most.into_iter().filter(fits).max().unwrap_or(0);
    let closing = most_lingering(max_connections);
    let needed = fixed.saturating_add(max_connections).saturating_add(closing);
    let because = format!(
        "limits.max_connections = {max_connections} needs {needed} open files ({max_connections} \
         clients, {closing} closing ones, {fixed} for listeners, workers, the endpoint and the \
         rest), but the limit is {open_files}"
    );
    if fitting == 0 {
        let least = fixed + 1 + LINGERING.start();
        Err(format!("{because}: no client fits; raise the limit (ulimit -n) to at least {least}"))
    } else if explicit {
        Err(format!("{because}: raise it (ulimit -n), or set at most {fitting}"))
    } else {
        Ok((fitting, Some(format!("{because}: lowered to {fitting}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDPOINT, EPOLLS, EVENTFDS, RESERVE, SIGNALS, STDIO, fit_connections};

    /// What one listener and four workers leave of the limit for clients and closing ones.
    const FIXED: usize = STDIO + EPOLLS + EVENTFDS + SIGNALS + ENDPOINT + RESERVE + 1 + 4;

    #[test]
    fn a_number_that_fits_is_kept() {
        let limit = (FIXED + 10_000 + 1024) as u64;
        for explicit in [false, true] {
            let budget = fit_connections(10_000, explicit, limit, 1, 4);
            assert_eq!(budget, Ok((10_000, None)));
        }
        assert!(fit_connections(10_000, true, limit - 1, 1, 4).is_err());
        assert!(fit_connections(10_000, true, limit, 2, 4).is_err(), "a listener more");
        assert!(fit_connections(10_000, true, limit, 1, 5).is_err(), "a worker more");
        assert!(fit_connections(1_000_000, true, u64::MAX, 1, 4).is_ok(), "no limit");
    }

    #[test]
    fn the_default_is_lowered_with_a_warning() {
        let (fitted, warning) = fit_connections(10_000, false, 1024, 1, 4).unwrap();
        assert_eq!(fitted, (1024 - FIXED) / 2);
        let warning = warning.unwrap();
        for part in ["10000", "the limit is 1024", &format!("lowered to {}", (1024 - FIXED) / 2)] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(fit_connections(fitted, true, 1024, 1, 4).is_ok());
    }

    #[test]
    fn a_chosen_number_that_does_not_fit_is_refused() {
        let refused = fit_connections(10_000, true, 1024, 1, 4).unwrap_err();
        let needed = FIXED + 10_000 + 1024;
        let expected = format!(
            "limits.max_connections = 10000 needs {needed} open files (10000 clients, 1024 closing \
             ones, {FIXED} for listeners, workers, the endpoint and the rest), but the limit is \
             1024: raise it (ulimit -n), or set at most {}",
            (1024 - FIXED) / 2
        );
        assert_eq!(refused, expected);
    }

    #[test]
    fn without_room_for_a_client_even_the_default_is_refused() {
        let refused = fit_connections(10_000, false, 64, 1, 4).unwrap_err();
        assert!(refused.contains("no client fits"), "{refused}");
        // As few clients as there are, a crowd that is refused may linger.
        let least = (FIXED + 1 + 64) as u64;
        assert_eq!(fit_connections(1, true, least, 1, 4), Ok((1, None)));
        assert!(fit_connections(1, true, least - 1, 1, 4).is_err());
    }
}
