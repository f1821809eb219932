//! A complete server of one's own: answers each line in capitals, from eight workers, and
//! exports its metrics. Try `nc 127.0.0.1 9999` and `curl 127.0.0.1:9998/metrics`. Other addresses
//! are arguments: `uppercase 127.0.0.1:7777 127.0.0.1:7778`.

use welcomed::endpoint::SideEndpoint;
use welcomed::server::{Listener, Server};
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};

struct Uppercase;

impl Service for Uppercase {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        reply.push(&message.to_ascii_uppercase()); // may block: a query, a sleep, a computation
        Ok(Flow::Continue)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let server =
        Server::builder().workers(8).listen(&address("127.0.0.1:9999"))?.build(Uppercase)?;
    let metrics = Listener::bind(&address("127.0.0.1:9998").parse()?, 128)?;
    let _metrics = SideEndpoint::start(metrics, &server.handle())?;
    server.run()?;
    Ok(())
}
