//! What two settings must be to each other.
//!
//! Judges settings that are right each for itself; reads none.

use super::kind::show_size;
use super::{Origin, Settings};
use crate::server::Address;

/// A setting's path, and what is wrong with its value beside the others.
type Problem = (&'static str, String);

/// The rules that `settings` break.
pub(super) fn broken_rules(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(a_reply_fits(settings));
    problems.extend(no_address_twice(settings));
    problems.extend(the_endpoint_has_its_own_address(settings));
    problems
}

/// What a reply may hold besides the message: `Hello, `, `!` and the end of a line, with room to
/// spare.
const ROOM_AROUND_MESSAGE: usize = 64;

fn a_reply_fits(settings: &Settings) -> Option<Problem> {
    let (message, output) = (settings.engine.max_message, settings.engine.max_pending_output);
    let longest = output.saturating_sub(ROOM_AROUND_MESSAGE);
    let [message_size, output, allowed] = [message, output, longest].map(show_size);
    let problem = format!(
        "a reply to a message of {message_size} would not fit the {output} of output that a \
         connection may hold; allowed: at most {allowed}"
    );
    (message > longest).then_some(("service.max_message", problem))
}

fn no_address_twice(settings: &Settings) -> Option<Problem> {
    let mut addresses = settings.listen.iter().enumerate();
    let (_, twice) = addresses.find(|(index, address)| {
        !any_port(address) && settings.listen[..*index].contains(address)
    })?;
    Some(("server.listen", format!("`{twice}` is listed twice")))
}

fn the_endpoint_has_its_own_address(settings: &Settings) -> Option<Problem> {
    let address = settings.metrics_listen.as_ref()?;
    if any_port(address) || !settings.listen.contains(address) {
        return None;
    }
    let place = match settings.origin_of("server.listen") {
        Origin::Default => "by default".to_owned(),
        origin => origin.to_string(),
    };
    let problem = format!(
        "`{address}` is also an address of server.listen ({place}); allowed: another address, \
         port 0 or `off`"
    );
    Some(("metrics.listen", problem))
}

/// Whether the kernel chooses the port, so that two such addresses are different ones.
fn any_port(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
}
