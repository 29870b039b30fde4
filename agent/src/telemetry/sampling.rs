//! Which spans of processes are exported: OpenTelemetry's consistent probability sampling, with exceptions.
//!
//! A span that is exported whatever its trace id (it went wrong, took long, or has such a span below it) stands for itself
//! alone: its threshold is 0, also where the trace is sampled. Those that are exported because their trace is have the
//! rate's threshold. So the sum of what all spans stand for is right on average, of any kind of spans.

use std::sync::Arc;

/// Bits of a trace id that are random, and of a threshold.
const RANDOM_BITS: u32 = 56;

/// One more than the greatest threshold that anything can pass.
const NEVER: u64 = 1 << RANDOM_BITS;

/// Decides by trace id.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// Trace ids whose random part is below it are not sampled.
    threshold: u64,
    slow_process_ns: u64,
    by_rate: Arc<str>,
    always: Arc<str>,
}

impl Sampler {
    /// Samples this share of all traces, and processes that lived for `slow_process_ns`.
    pub fn new(ratio: f64, slow_process_ns: u64) -> Self {
        let threshold = threshold(ratio);
        Self {
            threshold,
            slow_process_ns,
            by_rate: trace_state(threshold).into(),
            always: trace_state(0).into(),
        }
    }

    /// Samples everything.
    pub fn everything() -> Self {
        Self::new(1.0, u64::MAX)
    }

    /// Whether nothing is ever left out.
    pub fn takes_all(&self) -> bool {
        self.threshold == 0
    }

    /// Whether all spans of a trace are exported.
    pub fn takes(&self, trace_id: [u8; 16]) -> bool {
        let random = u128::from_be_bytes(trace_id) & u128::from(NEVER - 1);
        random >= u128::from(self.threshold)
    }

    /// Whether a process that lived for so long always has its span.
    pub fn is_slow(&self, lived_ns: u64) -> bool {
        lived_ns >= self.slow_process_ns
    }

    /// `tracestate` of a span that is exported because its trace is sampled.
    pub fn by_rate(&self) -> Arc<str> {
        Arc::clone(&self.by_rate)
    }

    /// `tracestate` of a span that is exported whatever its trace id.
    pub fn always(&self) -> Arc<str> {
        Arc::clone(&self.always)
    }
}

/// Of 2⁵⁶ random parts, how many are not sampled.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of 2^56, which is a float: neither negative nor too large"
)]
fn threshold(ratio: f64) -> u64 {
    let left_out = 1.0 - ratio.clamp(0.0, 1.0);
    (left_out * NEVER as f64).round() as u64
}

/// A threshold as OpenTelemetry writes it: 14 hexadecimal digits without the zeros at their end, one at least.
fn trace_state(threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    match digits.trim_end_matches('0') {
        "" => "ot=th:0".to_owned(),
        digits => format!("ot=th:{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(random: u64) -> [u8; 16] {
        // What is above the random part does not matter.
        (0xffff << RANDOM_BITS | u128::from(random)).to_be_bytes()
    }

    #[test]
    fn thresholds_are_written_as_opentelemetry_does() {
        for (ratio, expected) in [
            (1.0, "ot=th:0"),
            (0.5, "ot=th:8"),
            (0.25, "ot=th:c"),
            (0.75, "ot=th:4"),
            (1.0 / 16.0, "ot=th:f"),
            (0.1, "ot=th:e6666666666668"),
        ] {
            assert_eq!(&*Sampler::new(ratio, 0).by_rate(), expected, "{ratio}");
            assert_eq!(&*Sampler::new(ratio, 0).always(), "ot=th:0");
        }
    }

    #[test]
    fn a_trace_is_sampled_from_its_threshold_on() {
        let half = Sampler::new(0.5, 0);
        assert!(!half.takes(id(NEVER / 2 - 1)));
        assert!(half.takes(id(NEVER / 2)));
        assert!(!half.takes_all());
        let (all, none) = (Sampler::everything(), Sampler::new(0.0, 0));
        assert!(all.takes(id(0)) && all.takes_all());
        assert!(!none.takes(id(NEVER - 1)) && !none.takes_all());
    }

    #[test]
    fn whatever_a_lower_rate_takes_a_higher_one_takes() {
        let (few, many) = (Sampler::new(0.1, 0), Sampler::new(0.3, 0));
        let mut random = fastrand::Rng::with_seed(1);
        let mut taken = [0_u32; 2];
        for _ in 0..10_000 {
            let id = random.u128(..).to_be_bytes();
            assert!(!few.takes(id) || many.takes(id));
            taken[0] += u32::from(few.takes(id));
            taken[1] += u32::from(many.takes(id));
        }
        assert!((850..1_150).contains(&taken[0]), "{taken:?}");
        assert!((2_800..3_200).contains(&taken[1]), "{taken:?}");
    }

    #[test]
    fn slow_is_who_lives_for_that_long() {
        let sampler = Sampler::new(0.0, 10);
        assert!(!sampler.is_slow(9));
        assert!(sampler.is_slow(10));
    }
}
