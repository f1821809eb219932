//! Tests of the load generator against servers that do right and wrong, over real sockets.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// A server with a thread per connection, and its address. `answer` gets the number of the
/// message on its connection and the name; what it returns is sent, and `None` hangs up. The
/// threads end with their clients; the listener's ends with the process.
fn server(answer: impl Fn(usize, &str) -> Option<String> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || talk(stream.unwrap(), &answer));
        }
    });
    address
}

fn talk(mut stream: TcpStream, answer: &impl Fn(usize, &str) -> Option<String>) {
    stream.write_all(b"Welcome!\n").unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for (number, line) in lines.map_while(Result::ok).enumerate() {
        let Some(reply) = answer(number, &line) else { return };
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn hello(name: &str) -> Option<String> {
    Some(format!("Hello, {name}!\n"))
}

/// `count` messages over 4 connections with 8 in flight.
fn load(target: SocketAddr, count: u64) -> Load {
    Load {
        connections: 4,
        pace: Pace::closed(8),
        warm_up: Duration::ZERO,
        measured: Stop::Messages(count),
        ..Load::new(target)
    }
}

#[test]
fn every_message_is_answered_and_timed() {
    let report = run(&load(server(|_, name| hello(name)), 10_001)).unwrap();
    assert_eq!(report.messages, 10_001);
    assert!(report.errors.is_empty(), "{}", report.errors);
    assert!(report.throughput() > 0.0);
    let quantiles = [0.0, 0.5, 0.99, 0.999].map(|part| report.latency.quantile(part));
    assert!(quantiles.is_sorted() && quantiles[0] > Duration::ZERO, "{quantiles:?}");
    assert!(quantiles[3] <= report.latency.max());
    assert!(report.latency.max() <= report.elapsed + report.elapsed / 100);
}

#[test]
fn time_stops_a_run_and_the_next_one_goes_on() {
    let mut session = Session::connect(&load(server(|_, name| hello(name)), 0)).unwrap();
    let window = Duration::from_millis(50);
    for _ in 0..2 {
        let report = session.run(Stop::After(window)).unwrap();
        assert!(report.messages > 0);
        assert!(report.errors.is_empty(), "{}", report.errors);
    }
    assert_eq!(session.run(Stop::Messages(5)).unwrap().messages, 5);
}

/// Replies at the beginning of a quiet time are few in that time, and not many in no time.
#[test]
fn a_quiet_time_counts() {
    let think = Duration::from_secs(3600);
    let window = Duration::from_millis(300);
    let pace = Pace::Closed { in_flight: 1, think };
    let measured = Stop::After(window);
    let load = Load { pace, measured, ..load(server(|_, name| hello(name)), 0) };
    let report = run(&load).unwrap();
    assert_eq!(report.messages, 4);
    assert!(report.elapsed >= window, "{:?}", report.elapsed);
}

#[test]
fn a_wrong_answer_is_counted_and_quoted() {
    let target = server(|number, name| if number == 3 { hello("nobody") } else { hello(name) });
    let report = run(&load(target, 1_000)).unwrap();
    assert_eq!(report.errors.wrong, 4);
    assert_eq!(report.messages, 996);
    let example = report.errors.example.unwrap();
    assert!(example.contains("-00000003!\", got \"Hello, nobody!\""), "{example}");
}

#[test]
fn answers_in_the_wrong_order_are_wrong() {
    let target = server(|number, name| match number {
        0 => Some(String::new()),
        1 => Some(format!("Hello, {name}!\nHello, {}!\n", name.replace("01", "00"))),
        _ => hello(name),
    });
    let report = run(&Load { connections: 1, ..load(target, 10) }).unwrap();
    assert_eq!((report.errors.wrong, report.messages), (2, 8));
}

#[test]
fn an_answer_too_many_is_unasked() {
    let target = server(|_, name| Some(format!("Hello, {name}!\nand more\n")));
    let pace = Pace::closed(1);
    let report = run(&Load { connections: 1, pace, ..load(target, 2) }).unwrap();
    // One small segment is read as one piece, so that the second line is always seen.
    assert_eq!((report.messages, report.errors.messages(), report.errors.unasked), (2, 0, 2));
}

#[test]
fn a_hang_up_loses_what_was_in_flight() {
    let target = server(|number, name| if number < 10 { hello(name) } else { None });
    let report = run(&load(target, 1_000)).unwrap();
    let Report { messages, errors, .. } = report;
    assert_eq!(errors.closed + errors.reset, 4, "{errors}");
    // A reset may overtake replies, so that some of the forty may be lost too.
    assert!(messages <= 40 && errors.lost >= 4, "{messages} right, {errors}");
    assert_eq!((errors.wrong, errors.missing), (0, 0));
}

#[test]
fn an_answer_that_never_comes_is_missing() {
    let target = server(|number, name| if number < 10 { hello(name) } else { Some(String::new()) });
    let patience = Duration::from_millis(200);
    let mut session = Session::connect(&Load { patience, ..load(target, 0) }).unwrap();
    let report = session.run(Stop::Messages(1_000)).unwrap();
    assert_eq!((report.messages, report.errors.missing), (40, 32));
    // Their connections are gone, and with them the run.
    assert_eq!(session.run(Stop::Messages(1)).unwrap().messages, 0);
}

#[test]
fn an_answer_without_an_end_is_cut() {
    let target = server(|_, _| Some("x".repeat(1 << 20)));
    let report = run(&load(target, 4)).unwrap();
    assert_eq!(report.errors.messages(), 4);
    assert!(report.errors.endless >= 1, "{}", report.errors);
}

#[test]
fn a_refusal_is_no_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let busy = thread::spawn(move || {
        listener.accept().unwrap().0.write_all(b"Busy, try again later.\n").unwrap();
    });
    let error = run(&Load { connections: 1, ..load(target, 1) }).unwrap_err().to_string();
    busy.join().unwrap();
    let expected = format!(
        "none of 1 connections to {target} was made: 1 refused (expected `Welcome!`, got \
         \"Busy, try again later.\")"
    );
    assert_eq!(error, expected);
}

#[test]
fn silence_is_no_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let patience = Duration::from_millis(50);
    let error = run(&Load { patience, ..load(target, 1) }).unwrap_err().to_string();
    assert_eq!(error, format!("none of 4 connections to {target} was made: 4 timeout"));
}

#[test]
fn nobody_there_is_an_error_and_says_so() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(&load(target, 1)).unwrap_err().to_string();
    assert!(error.contains("4 connect (Connection refused"), "{error}");
}

#[test]
fn threads_share_the_load_and_a_count() {
    let load = Load { connections: 7, threads: 3, ..load(server(|_, name| hello(name)), 10_001) };
    let report = run(&load).unwrap();
    assert_eq!((report.messages, report.latency.count()), (10_001, 10_001));
    assert!(report.errors.is_empty(), "{}", report.errors);
    assert_eq!(report.seconds.iter().map(|second| second.messages).sum::<u64>(), 10_001);
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    for (arrivals, threads) in [(Arrivals::Constant, 1), (Arrivals::Constant, 2)] {
        let pace = Pace::Open { rate: 1_000.0, arrivals };
        let measured = Stop::After(Duration::from_millis(200));
        let target = server(|_, name| hello(name));
        let report = run(&Load { pace, measured, threads, ..load(target, 0) }).unwrap();
        assert_eq!(report.messages, 200);
        assert!(report.errors.is_empty(), "{}", report.errors);
    }
}

#[test]
fn a_warm_up_is_not_measured() {
    let pace = Pace::Open { rate: 1_000.0, arrivals: Arrivals::Constant };
    let warm_up = Duration::from_millis(100);
    let measured = Stop::After(Duration::from_millis(150));
    let target = server(|_, name| hello(name));
    let report = run(&Load { pace, warm_up, measured, ..load(target, 0) }).unwrap();
    assert_eq!((report.messages, report.latency.count()), (150, 150));
}

#[test]
fn a_ramp_opens_connections_as_it_goes() {
    let (sender, accepted) = std::sync::mpsc::channel();
    let target = server(move |number, name| {
        if number == 0 {
            sender.send(std::time::Instant::now()).unwrap();
        }
        hello(name)
    });
    let ramp = Duration::from_millis(200);
    let measured = Stop::After(Duration::from_millis(300));
    let report = run(&Load { ramp, measured, ..load(target, 0) }).unwrap();
    assert!(report.errors.is_empty(), "{}", report.errors);
    let mut first: Vec<_> = accepted.try_iter().collect();
    first.sort();
    assert_eq!(first.len(), 4);
    // The last of four begins when three quarters of the ramp are over.
    assert!(first[3] - first[0] >= Duration::from_millis(100), "{first:?}");
}

#[test]
fn whoever_watches_can_end_it() {
    let target = server(|_, name| hello(name));
    let measured = Stop::After(Duration::from_secs(600));
    let load = Load { measured, threads: 2, ..load(target, 0) };
    let report = watch(&load, |progress| progress.elapsed.is_none()).unwrap();
    assert!(report.messages > 0);
    assert!(report.errors.is_empty(), "{}", report.errors);
}

#[test]
fn a_load_out_of_bounds_is_refused_before_it_connects() {
    let load = Load { connections: 0, ..Load::new(([127, 0, 0, 1], 9).into()) };
    assert!(matches!(run(&load), Err(Error::Connections(0))));
    assert!(matches!(Session::connect(&load), Err(Error::Connections(0))));
}
