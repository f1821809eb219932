//! The advisor's arithmetic on any numbers: nothing panics, nothing is said that is not finite, and
//! where the numbers are those of a pool the answer is what Erlang's sums say.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use welcomed::sizing::{
    Closed, Load, MOST_WORKERS, Observed, Prediction, Target, Wait, advise, arrival_cv2, predict,
};

/// A number: any at all, or one of those that measurements give.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Number {
    Any(f64),
    Usual(u16, i8),
}

impl Number {
    fn value(self) -> f64 {
        match self {
            Self::Any(it) => it,
            Self::Usual(digits, exponent) => {
                f64::from(digits) * 10_f64.powi(i32::from(exponent) / 16)
            }
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Input {
    messages: u64,
    numbers: [Number; 12],
    clients: Option<u16>,
    workers: u16,
    is_p99: bool,
    windows: Vec<(Number, Number)>,
}

fuzz_target!(|input: Input| {
    let numbers = input.numbers.map(Number::value);
    let workers = usize::from(input.workers);
    let load = Load {
        messages: input.messages,
        arrivals_per_second: numbers[0],
        arrival_cv2: numbers[1],
        service_seconds: numbers[2],
        service_cv2: numbers[3],
        cpu_seconds: numbers[4],
        cores: numbers[5],
        clients: input.clients.map(usize::from),
    };
    let target = if input.is_p99 { Target::P99Wait } else { Target::MeanWait };
    let target = target(numbers[6]);
    if let Ok(prediction) = predict(&load, workers) {
        check(&prediction);
        assert_eq!(prediction.workers, workers);
        exponential_work_is_exact(&load, workers);
    }
    let advice = advise(&load, target, &[workers]);
    assert!(!advice.reason.is_empty() && !advice.reason.contains(['\n', '\r']));
    assert!(!advice.reason.contains("NaN") && !advice.reason.contains("inf "), "{advice:?}");
    advice.table.iter().for_each(check);
    assert!(advice.table.is_sorted_by(|one, next| one.workers < next.workers));
    if let Ok(recommended) = advice.recommended {
        assert!((1..=MOST_WORKERS).contains(&recommended));
        let at = |workers| predict(&load, workers).ok().and_then(|it| it.wait.ok());
        let keeps = |wait: Wait| target.of(&wait) <= target.seconds();
        // The smallest that keeps the target, or as many as the cores can use.
        if at(recommended).is_some_and(keeps) {
            assert!(recommended == 1 || !at(recommended - 1).is_some_and(keeps), "{advice:?}");
        } else {
            assert!(advice.warnings.iter().any(|it| it.to_string().contains("CPU")), "{advice:?}");
        }
    }
    observed(&numbers, &input, target);
    closed(&numbers, usize::from(input.clients.unwrap_or(1)), workers);
    let windows: Vec<_> =
        input.windows.iter().map(|(length, count)| (length.value(), count.value())).collect();
    if let Some(cv2) = arrival_cv2(&windows) {
        assert!(cv2.is_finite() && cv2 >= 0.0, "{cv2}");
    }
});

fn check(prediction: &Prediction) {
    assert!(prediction.utilisation.is_finite() && prediction.utilisation >= 0.0, "{prediction:?}");
    let Ok(wait) = prediction.wait else { return };
    assert!(prediction.utilisation < 1.0);
    assert!((0.0..=1.0).contains(&wait.waiting), "{wait:?}");
    for seconds in [wait.mean, wait.p50, wait.p95, wait.p99] {
        assert!(seconds.is_finite() && seconds >= 0.0, "{prediction:?}");
    }
    assert!(wait.p50 <= wait.p95 && wait.p95 <= wait.p99, "{wait:?}");
}

/// Poisson arrivals and exponential work: Erlang C by its sums, without a recursion.
fn exponential_work_is_exact(load: &Load, workers: usize) {
    let load = Load { arrival_cv2: 1.0, service_cv2: 1.0, ..*load };
    let (a, c) = (load.offered(), workers as f64);
    let Some(wait) = predict(&load, workers).ok().and_then(|it| it.wait.ok()) else { return };
    if workers > 100 || !(1e-3..).contains(&a) {
        return;
    }
    // a^k / k! for 0, 1, ... c; at most e^100.
    let terms: Vec<f64> =
        (0..=workers).map(|k| (1..=k).map(|i| a / i as f64).product::<f64>()).collect();
    let last = terms[workers] * c / (c - a);
    let waiting = last / (terms[..workers].iter().sum::<f64>() + last);
    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected + 1e-300;
    assert!(near(wait.waiting, waiting), "{wait:?}, not {waiting}");
    assert!(near(wait.mean, waiting * load.service_seconds / (c - a)), "{wait:?}");
    // At the 99th percentile 1 in 100 is left: C e^(-(c-a) t / S) = 0.01.
    if wait.p99 > 0.0 {
        let left = waiting * (-(c - a) * wait.p99 / load.service_seconds).exp();
        assert!((left - 0.01).abs() < 1e-9, "{left} in {wait:?}");
    }
}

fn observed(numbers: &[f64; 12], input: &Input, target: Target) {
    let observed = Observed {
        seconds: numbers[0],
        workers: usize::from(input.workers),
        messages: input.messages,
        busy_seconds: numbers[1],
        handler_seconds: numbers[2],
        handler_seconds_squared: numbers[3],
        cpu_seconds: Some(numbers[4]).filter(|_| input.is_p99),
        cores: Some(numbers[5]),
        arrival_cv2: Some(numbers[7]).filter(|_| input.clients.is_some()),
        accepted: input.messages / 3,
        open: numbers[8],
        waits: input.messages / 2,
        wait_seconds: numbers[9],
        parks: input.messages / 4,
    };
    let advice = observed.advise(target);
    advice.table.iter().for_each(check);
    for text in advice.warnings.iter().map(ToString::to_string).chain([advice.reason]) {
        assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
    }
}

fn closed(numbers: &[f64; 12], clients: usize, workers: usize) {
    let closed = Closed { clients, think_seconds: numbers[10], service_seconds: numbers[11] };
    let bound = closed.bound_per_second(workers, 0.0, 1.0);
    assert!(bound.is_none_or(|bound| bound.is_finite() && bound >= 0.0));
    let Some(prediction) = closed.predict(workers) else { return };
    assert!(prediction.utilisation >= 0.0 && prediction.utilisation <= 1.0 + 1e-9);
    assert!(prediction.wait_mean_seconds >= 0.0 && prediction.wait_mean_seconds.is_finite());
    let throughput = prediction.throughput_per_second;
    assert!(throughput >= 0.0 && throughput.is_finite());
    // Numbers near the smallest one have lost their digits before they come here.
    if closed.service_seconds < 1e-12 {
        return;
    }
    assert!(
        bound.is_none_or(|bound| throughput <= bound * (1.0 + 1e-6)),
        "{throughput} of {bound:?}: {closed:?} {workers}"
    );
}
