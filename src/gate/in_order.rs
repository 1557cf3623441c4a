//! Edges in the order in which they came. The kernel numbers them when they come, but a thread of its own for each line hands them over, so that
//! those of two lines may come out the wrong way round.

/// Edges that may be ahead of one that is missing; beyond that it is taken to be lost.
const EARLY_MAX: usize = 64;

/// Puts what is numbered in order.
#[derive(Debug, Clone)]
pub struct InOrder<T> {
    /// The number of what comes next.
    next: u32,
    /// What came before its turn, sorted by how far it is ahead.
    early: Vec<(u32, T)>,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered<T> {
    /// The next one.
    Next(T),
    /// At least one is missing here, and is not waited for any more.
    Lost,
}

impl<T> InOrder<T> {
    /// The first number is `first`; they wrap.
    pub fn new(first: u32) -> Self {
        Self {
            next: first,
            early: Vec::new(),
        }
    }

    /// Whether something waits for one that is missing.
    pub fn is_waiting(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes one in; what can be said then is appended to `out`.
    pub fn take(&mut self, number: u32, item: T, out: &mut Vec<Ordered<T>>) {
        let ahead = number.wrapping_sub(self.next);
        if ahead > u32::MAX / 2 {
            // It was given up already, and so much has been said.
            return;
        }
        let place = self.early.partition_point(|(other, _)| other.wrapping_sub(self.next) < ahead);
        self.early.insert(place, (number, item));
        self.give(out);
        if self.early.len() > EARLY_MAX {
            self.give_up(out);
        }
    }

    /// What is missing is not waited for any more.
    pub fn give_up(&mut self, out: &mut Vec<Ordered<T>>) {
        if let Some((number, _)) = self.early.first() {
            self.next = *number;
            out.push(Ordered::Lost);
            self.give(out);
        }
    }

    fn give(&mut self, out: &mut Vec<Ordered<T>>) {
        while self.early.first().is_some_and(|(number, _)| *number == self.next) {
            let (_, item) = self.early.remove(0);
            self.next = self.next.wrapping_add(1);
            out.push(Ordered::Next(item));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(order: &mut InOrder<u32>, numbers: &[u32]) -> Vec<Ordered<u32>> {
        let mut out = Vec::new();
        for number in numbers {
            order.take(*number, *number, &mut out);
        }
        out
    }

    #[test]
    fn what_is_missing_is_waited_for_and_then_lost() {
        let mut order = InOrder::new(1);
        assert_eq!(taken(&mut order, &[2, 4, 1]), [Ordered::Next(1), Ordered::Next(2)]);
        assert!(order.is_waiting());
        let mut out = Vec::new();
        order.give_up(&mut out);
        assert_eq!(out, [Ordered::Lost, Ordered::Next(4)]);
        assert_eq!(taken(&mut order, &[3, 5]), [Ordered::Next(5)], "3 is late");
        assert!(!order.is_waiting());
    }

    #[test]
    fn nothing_waits_for_ever() {
        let mut order = InOrder::new(0);
        let numbers: Vec<u32> = (1..=EARLY_MAX as u32 + 1).collect();
        let out = taken(&mut order, &numbers);
        assert_eq!((out.len(), out[0]), (numbers.len() + 1, Ordered::Lost));
    }

    proptest! {
        #[test]
        fn whatever_the_order_is_it_comes_out_right(first: u32, swaps in prop::collection::vec((0usize..40, 1usize..5), 0..40)) {
            let mut numbers: Vec<u32> = (0..40).map(|step| first.wrapping_add(step)).collect();
            let expected: Vec<Ordered<u32>> = numbers.iter().map(|number| Ordered::Next(*number)).collect();
            for (place, by) in swaps {
                numbers.swap(place, (place + by).min(39));
            }
            prop_assert_eq!(taken(&mut InOrder::new(first), &numbers), expected);
        }
    }
}
