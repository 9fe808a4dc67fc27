//! Which period a row belongs to.

use crate::config::Slicing;
use crate::error::{Result, StreamError};
use perennial_core::{Span, Timestamp};

/// Places rows, given in order of time, in periods.
#[derive(Debug)]
pub(crate) struct Cutter {
    slicing: Slicing,
    /// For equal counts.
    rows_per_period: u64,
    rows: u64,
    /// Number of the period of the first row: multiples of the span since 1970, or as given.
    first: Option<i64>,
    /// The latest number given.
    last: i64,
}

/// More periods than this are taken for a mistake: a wrong unit of time, or one row with a wild time.
const MOST_PERIODS: i64 = 100_000;

impl Cutter {
    /// For a log of `rows` rows. Fails if there are fewer rows than periods asked for.
    pub(crate) fn new(slicing: Slicing, rows: u64) -> Result<Cutter> {
        let rows_per_period = match slicing {
            Slicing::Count(count) if rows < u64::from(count) => {
                return Err(StreamError::Config(format!("{rows} rows cannot be cut into {count} equal periods")));
            }
            Slicing::Count(count) => rows / u64::from(count),
            Slicing::Time(_) | Slicing::Given => 0,
        };
        Ok(Cutter { slicing, rows_per_period, rows: 0, first: None, last: i64::MIN })
    }

    /// Index of the period of the next row; `None` if the row is part of the remainder.
    pub(crate) fn place(&mut self, event: u64, time: i64, given: Option<i32>) -> Result<Option<usize>> {
        let number = match self.slicing {
            Slicing::Time(span) => time.div_euclid(span.0),
            Slicing::Given => i64::from(given.ok_or_else(no_period_column)?),
            Slicing::Count(count) => {
                let index = self.rows / self.rows_per_period;
                self.rows += 1;
                return Ok((index < u64::from(count)).then_some(index as usize));
            }
        };
        if number < self.last {
            let problem =
                format!("its period {number} comes after period {}, though rows are in order of time", self.last);
            return Err(StreamError::Value { event, problem });
        }
        self.last = number;
        let index = number - *self.first.get_or_insert(number);
        if index >= MOST_PERIODS {
            let problem = format!(
                "it would begin period {index}; more than {MOST_PERIODS} are refused: \
                 is its time right, and is the span of periods?"
            );
            return Err(StreamError::Value { event, problem });
        }
        Ok(Some(index as usize))
    }

    /// Start and end of period `index`, from its first and last rows' times if it has any, and the end of the one before.
    pub(crate) fn bounds(&self, index: usize, rows: Option<(i64, i64)>, before: i64) -> (Timestamp, Timestamp) {
        let (start, end) = match (self.slicing, rows) {
            (Slicing::Time(Span(span)), _) => {
                let number = self.first.unwrap_or(0) + index as i64;
                (number.saturating_mul(span), (number + 1).saturating_mul(span))
            }
            (_, Some((first, last))) => (first, last.saturating_add(1)),
            (_, None) => (before, before),
        };
        (Timestamp(start), Timestamp(end))
    }
}

fn no_period_column() -> StreamError {
    StreamError::Config("periods are to be as given, but the schema has no field of kind \"period\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(slicing: Slicing, rows: &[(i64, Option<i32>)]) -> Result<Vec<Option<usize>>> {
        let mut cutter = Cutter::new(slicing, rows.len() as u64)?;
        rows.iter().map(|&(time, given)| cutter.place(0, time, given)).collect()
    }

    fn times(times: &[i64]) -> Vec<(i64, Option<i32>)> {
        times.iter().map(|&time| (time, None)).collect()
    }

    #[test]
    fn spans_are_aligned_to_1970() {
        let slices = place(Slicing::Time(Span(10)), &times(&[-11, -10, -1, 0, 9, 30])).unwrap();
        assert_eq!(slices, [Some(0), Some(1), Some(1), Some(2), Some(2), Some(5)]);
    }

    /// floor(7 / 3) = 2 rows each; the seventh is the remainder.
    #[test]
    fn counts_are_equal_and_the_remainder_is_dropped() {
        let slices = place(Slicing::Count(3), &times(&[1, 1, 1, 2, 3, 4, 5])).unwrap();
        assert_eq!(slices, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
        assert!(place(Slicing::Count(3), &times(&[1, 2])).unwrap_err().to_string().contains("2 rows"));
    }

    #[test]
    fn given_numbers_start_at_the_first_and_never_fall() {
        let given = |numbers: &[i32]| numbers.iter().map(|&number| (0, Some(number))).collect::<Vec<_>>();
        assert_eq!(place(Slicing::Given, &given(&[3, 3, 5])).unwrap(), [Some(0), Some(0), Some(2)]);
        assert!(
            place(Slicing::Given, &given(&[3, 2])).unwrap_err().to_string().contains("period 2 comes after period 3")
        );
        assert!(place(Slicing::Given, &times(&[1])).unwrap_err().to_string().contains("kind \"period\""));
    }

    #[test]
    fn a_wild_time_is_not_a_hundred_thousand_periods() {
        let error = place(Slicing::Time(Span(1)), &times(&[0, 100_000])).unwrap_err().to_string();
        assert!(error.contains("is its time right"), "got: {error}");
    }
}
