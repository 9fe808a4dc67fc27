//! The users: who comes in which period, and how much.

use crate::config::Users;
use perennial_core::Stream;

/// Everything about users that does not drift.
#[derive(Debug, Clone)]
pub(crate) struct Population {
    seed: u64,
    config: Users,
}

/// How a user comes and goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Habit {
    /// Comes in the periods `t` for which `(t + phase) % gap == 0`; a gap of 1 is every period.
    gap: u32,
    phase: u32,
    /// How much the user sees in a period, relative to others.
    pub(crate) activity: f64,
}

impl Habit {
    fn comes(&self, period: u32) -> bool {
        (period + self.phase).is_multiple_of(self.gap)
    }
}

impl Population {
    /// `seed` is already specific to users.
    pub(crate) fn new(seed: u64, config: Users) -> Population {
        Population { seed, config }
    }

    /// Number of users.
    pub(crate) fn len(&self) -> u32 {
        self.config.count
    }

    /// How a user comes and goes.
    pub(crate) fn habit(&self, user: u32) -> Habit {
        let mut stream = Stream::new(&[self.seed, u64::from(user)]);
        let activity = (0.5 * stream.normal()).exp();
        if stream.unit_f64() >= self.config.sparse {
            return Habit { gap: 1, phase: 0, activity };
        }
        let gaps = u64::from(self.config.gap_max - self.config.gap_min + 1);
        let gap = self.config.gap_min + stream.below(gaps) as u32;
        Habit { gap, phase: stream.below(u64::from(gap)) as u32, activity }
    }

    /// The users who come in a period, ascending, with their activity; everybody if nobody would.
    pub(crate) fn present(&self, period: u32) -> Vec<(u32, f64)> {
        let habits = || (0..self.len()).map(|user| (user, self.habit(user)));
        let present: Vec<_> =
            habits().filter(|(_, habit)| habit.comes(period)).map(|(user, habit)| (user, habit.activity)).collect();
        if present.is_empty() { habits().map(|(user, habit)| (user, habit.activity)).collect() } else { present }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods_of(population: &Population, user: u32) -> Vec<u32> {
        (0..40).filter(|&period| population.present(period).iter().any(|&(other, _)| other == user)).collect()
    }

    #[test]
    fn sparse_users_return_after_their_gap() {
        let config = Users { count: 200, sparse: 0.4, gap_min: 3, gap_max: 5 };
        let population = Population::new(9, config);
        let mut gaps = [0; 6];
        for user in 0..200 {
            let periods = periods_of(&population, user);
            let gap = periods[1] - periods[0];
            assert!(periods.windows(2).all(|pair| pair[1] - pair[0] == gap), "user {user}: {periods:?}");
            gaps[gap as usize] += 1;
        }
        assert_eq!(gaps[0] + gaps[2], 0);
        let sparse = f64::from(gaps[3] + gaps[4] + gaps[5]) / 200.0;
        assert!((sparse - 0.4).abs() < 0.14, "share {sparse}"); // 4 sqrt(0.4 * 0.6 / 200)
        assert!(gaps[3..].iter().all(|&count| count > 0), "{gaps:?}");
    }

    #[test]
    fn a_period_is_never_empty() {
        let population = Population::new(9, Users { count: 1, sparse: 1.0, gap_min: 7, gap_max: 7 });
        assert!((0..7).all(|period| population.present(period).len() == 1));
    }
}
