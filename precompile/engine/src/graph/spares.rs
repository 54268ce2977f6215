//! Memory that is written to again: what the system gives anew costs more than most operators do with it.

/// Buffers that nobody needs any more.
#[derive(Default)]
pub(crate) struct Spares {
    buffers: Vec<Vec<f32>>,
    bytes: u64,
}

impl Spares {
    /// Bytes below which a buffer costs less to allocate than to look for.
    pub(super) const BYTES_MIN: u64 = 1 << 14;
    /// Bytes that are kept from one run to the next at most.
    pub(crate) const BYTES_MAX: u64 = 64 << 20;

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn keep(&mut self, values: Vec<f32>) {
        self.bytes += bytes_of(&values);
        self.buffers.push(values);
    }

    /// The smallest that has room for `count` elements, and is not much too large; if there is one, of those that still have so
    /// many, as others have to be filled up.
    pub(super) fn find(&mut self, count: usize) -> Option<Vec<f32>> {
        let fits = |values: &Vec<f32>| (count..=count.saturating_mul(4)).contains(&values.capacity());
        let best = (0..self.buffers.len()).filter(|i| fits(&self.buffers[*i]));
        let order = |i: &usize| (self.buffers[*i].len() < count, self.buffers[*i].capacity());
        let values = self.buffers.swap_remove(best.min_by_key(order)?);
        self.bytes -= bytes_of(&values);
        Some(values)
    }

    /// Adds those of another run, as many as there is room for.
    pub(crate) fn add(&mut self, others: Self) {
        for values in others.buffers {
            if self.bytes + bytes_of(&values) <= Self::BYTES_MAX {
                self.keep(values);
            }
        }
    }
}

fn bytes_of(values: &Vec<f32>) -> u64 {
    (size_of::<f32>() * values.capacity()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_buffer_is_found_once() {
        let mut spares = Spares::default();
        [5_000, 9_000, 70_000].into_iter().for_each(|count| spares.keep(vec![1.0; count]));
        assert_eq!(spares.bytes(), 4 * 84_000);
        assert_eq!(spares.find(6_000).map(|values| values.capacity()), Some(9_000));
        assert_eq!(spares.find(6_000), None, "another is too small, and one much too large");
        assert_eq!(spares.find(5_000).map(|values| values.capacity()), Some(5_000));
        assert_eq!(spares.bytes(), 4 * 70_000);
    }

    #[test]
    fn what_is_kept_between_runs_is_bounded() {
        let mut kept = Spares::default();
        for _ in 0..3 {
            let mut spares = Spares::default();
            (0..5).for_each(|_| spares.keep(vec![0.0; 2 << 20]));
            kept.add(spares);
        }
        assert_eq!(kept.bytes(), Spares::BYTES_MAX);
    }
}
