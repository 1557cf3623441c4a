//! In which order providers are tried, and what it means when the first one cannot be had. Pure.

use super::{EngineOptions, Provider};

/// Where a model is to run: the first of these that takes it and passes its golden images there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderOrder {
    /// The one that is wanted.
    pub first: Provider,
    /// Those that may stand in for it, in order.
    pub others: [Option<Provider>; 2],
    /// Threads inside one inference; 0 means one per core.
    pub threads: usize,
    /// Whether TensorRT may compute with 16-bit numbers where the golden images say that it comes to the same.
    pub fp16: bool,
}

impl ProviderOrder {
    /// The order of a list, of which only the first counts where nothing may stand in for it. `None` for an empty list.
    pub fn of(providers: &[Provider], is_required: bool, threads: usize, fp16: bool) -> Option<Self> {
        let mut others = providers.iter().skip(1).copied().filter(|_| !is_required);
        Some(Self {
            first: *providers.first()?,
            others: [others.next(), others.next()],
            threads,
            fp16,
        })
    }

    /// What is tried, in order, for a model that computes with 32-bit numbers, or does not.
    pub fn attempts(&self, is_f32: bool) -> Vec<Attempt> {
        let providers = [Some(self.first)].into_iter().chain(self.others).flatten();
        let attempts = providers.flat_map(|provider| {
            let half = self.fp16 && is_f32 && provider == Provider::TensorRt;
            let attempt = |fp16| Attempt {
                options: EngineOptions {
                    provider,
                    threads: self.threads,
                },
                fp16,
            };
            half.then(|| attempt(true)).into_iter().chain([attempt(false)])
        });
        attempts.collect()
    }
}

/// One provider, and nothing else: nothing stands in for it.
impl From<EngineOptions> for ProviderOrder {
    fn from(options: EngineOptions) -> Self {
        Self {
            first: options.provider,
            others: [None; 2],
            threads: options.threads,
            fp16: false,
        }
    }
}

/// One way to run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Where, and with how many threads.
    pub options: EngineOptions,
    /// Whether with 16-bit numbers.
    pub fp16: bool,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{}",
            self.options.provider,
            if self.fp16 { " with 16-bit numbers" } else { "" }
        )
    }
}

/// What became of trying one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried<T, E> {
    /// What the first one that worked gave, or the error of the last one.
    pub outcome: Result<(Attempt, T), E>,
    /// What did not work before it.
    pub failed: Vec<(Attempt, E)>,
}

/// Tries one after the other until one works, or fails in a way that another provider would not help.
pub fn first_that_works<T, E>(
    attempts: &[Attempt],
    mut attempt: impl FnMut(Attempt) -> Result<T, E>,
    may_help: impl Fn(&E) -> bool,
) -> Option<Tried<T, E>> {
    let mut failed = Vec::new();
    for (place, &next) in attempts.iter().enumerate() {
        match attempt(next) {
            Ok(done) => {
                return Some(Tried {
                    outcome: Ok((next, done)),
                    failed,
                });
            }
            Err(error) if place + 1 < attempts.len() && may_help(&error) => failed.push((next, error)),
            Err(error) => {
                return Some(Tried {
                    outcome: Err(error),
                    failed,
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use Provider::{Cpu, Cuda, TensorRt};

    fn order(providers: &[Provider], is_required: bool, fp16: bool) -> Vec<(Provider, bool)> {
        let order = ProviderOrder::of(providers, is_required, 1, fp16).unwrap();
        let attempts = order.attempts(true).into_iter();
        attempts.map(|attempt| (attempt.options.provider, attempt.fp16)).collect()
    }

    #[test]
    fn providers_are_tried_in_the_order_given_and_only_the_first_if_it_is_required() {
        let all = [TensorRt, Cuda, Cpu];
        assert_eq!(order(&all, false, false), [(TensorRt, false), (Cuda, false), (Cpu, false)]);
        assert_eq!(order(&all, true, false), [(TensorRt, false)]);
        assert_eq!(
            order(&all, false, true),
            [(TensorRt, true), (TensorRt, false), (Cuda, false), (Cpu, false)]
        );
        assert_eq!(order(&all, true, true), [(TensorRt, true), (TensorRt, false)]);
        assert_eq!(order(&[Cpu], false, true), [(Cpu, false)]);
        assert_eq!(ProviderOrder::of(&[], false, 1, false), None);
    }

    #[test]
    fn bytes_are_not_rounded_to_half_precision() {
        let order = ProviderOrder::of(&[TensorRt], false, 1, true).unwrap();
        assert!(order.attempts(false).iter().all(|attempt| !attempt.fp16));
    }

    #[test]
    fn the_first_that_works_runs_and_what_failed_before_is_told() {
        let attempts = ProviderOrder::of(&[TensorRt, Cuda, Cpu], false, 1, false).unwrap().attempts(true);
        let only = |works: Provider| {
            move |attempt: Attempt| {
                (attempt.options.provider == works)
                    .then_some("done")
                    .ok_or(attempt.options.provider)
            }
        };
        let tried = first_that_works(&attempts, only(Cuda), |_| true).unwrap();
        assert_eq!(tried.outcome, Ok((attempts[1], "done")));
        assert_eq!(tried.failed, [(attempts[0], TensorRt)]);

        let tried = first_that_works(&attempts, |attempt| Err::<(), _>(attempt.options.provider), |_| true).unwrap();
        assert_eq!(tried.outcome, Err(Cpu));
        assert_eq!(tried.failed.len(), 2);

        // A package that is of no use is of no use anywhere.
        let tried = first_that_works(&attempts, |attempt| Err::<(), _>(attempt.options.provider), |_| false).unwrap();
        assert_eq!((tried.outcome, tried.failed.len()), (Err(TensorRt), 0));
    }
}
