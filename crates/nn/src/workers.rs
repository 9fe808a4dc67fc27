//! Threads for the shards of a batch.

use rayon::ThreadPool;
use rayon::prelude::*;

/// A fixed number of threads that sleep when there is nothing to do.
///
/// The caller decides how work is split into shards, and each shard is computed by one thread alone; so results do
/// not depend on the number of workers or on timing, as long as the caller combines shards in their order.
#[derive(Debug)]
pub struct Workers {
    /// `None` with one worker: the calling thread does the work.
    pool: Option<ThreadPool>,
}

impl Workers {
    /// Starts `threads` workers; 0 counts as 1, for which no thread is started.
    ///
    /// # Panics
    /// If the system refuses to start a thread, as `std::thread::spawn` does.
    pub fn new(threads: usize) -> Workers {
        let pool = (threads > 1).then(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("worker-{index}"))
                .build()
                .unwrap_or_else(|error| panic!("{threads} worker threads were asked for; try fewer: {error}"))
        });
        Workers { pool }
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// Runs `f` on a worker and waits, so that [`Workers::for_each`] within it starts without waking one.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Calls `f(index, shard)` for every shard, shared out one by one among the workers, and waits for all.
    pub fn for_each<S: Send>(&self, shards: &mut [S], f: impl Fn(usize, &mut S) + Sync) {
        match &self.pool {
            Some(pool) => pool.install(|| {
                shards.par_iter_mut().enumerate().with_max_len(1).for_each(|(index, shard)| f(index, shard));
            }),
            None => shards.iter_mut().enumerate().for_each(|(index, shard)| f(index, shard)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of 1/i over stretches: any change of grouping would change the last bits.
    fn partial_sums(threads: usize) -> Vec<u64> {
        let workers = Workers::new(threads);
        let mut shards = [0.0f64; 8];
        workers.run(|| {
            workers.for_each(&mut shards, |index, sum| {
                *sum = (1..1000).map(|i| 1.0 / (index * 1000 + i) as f64).sum();
            });
        });
        shards.iter().map(|sum| sum.to_bits()).collect()
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_workers() {
        let alone = partial_sums(1);
        for threads in [2, 3, 8] {
            assert_eq!(partial_sums(threads), alone, "{threads} workers");
        }
    }

    #[test]
    fn one_worker_is_the_calling_thread() {
        let here = std::thread::current().id();
        for threads in [0, 1] {
            let workers = Workers::new(threads);
            assert_eq!(workers.count(), 1);
            assert_eq!(workers.run(|| std::thread::current().id()), here);
        }
        assert_ne!(Workers::new(2).run(|| std::thread::current().id()), here);
    }

    #[test]
    fn no_shards_is_no_work() {
        for threads in [1, 2] {
            Workers::new(threads).for_each(&mut [0u8; 0], |_, _| unreachable!("there is no shard"));
        }
    }
}
