//! What to read from results, in sentences made from the numbers.

use crate::paired::mean;
use crate::promise::{Promise, warnings};
use crate::{MethodKind, MethodResults, Metric, Results, Served, Summary, show};
use std::ops::Range;

/// Below this p-value a difference is called one.
const SIGNIFICANT: f64 = 0.05;

/// The sentences, most important first, judged by `metric` on the span. Empty if no method has a value.
pub fn findings(results: &Results, metric: &Metric) -> Vec<String> {
    let ranked = results.ranked(metric);
    let reader = Reader { results, metric, ranked };
    let sentences = [reader.winner(), reader.references(), reader.ceiling(), reader.frozen(), reader.cost()];
    sentences.into_iter().flatten().chain(reader.calibration()).chain(reader.gates()).collect()
}

/// What the sentences are made from.
struct Reader<'a> {
    results: &'a Results,
    metric: &'a Metric,
    /// Best first.
    ranked: Vec<(&'a MethodResults, Summary)>,
}

impl<'a> Reader<'a> {
    fn learners(&self) -> Vec<(&'a MethodResults, Summary)> {
        self.ranked.iter().copied().filter(|(method, _)| method.kind != MethodKind::Reference).collect()
    }

    fn best_updated(&self) -> Option<(&'a MethodResults, Summary)> {
        self.ranked.iter().copied().find(|(method, _)| method.kind == MethodKind::Updated)
    }

    /// How much better `a` is than `b`, whatever the direction of the metric.
    fn gain(&self, a: f64, b: f64) -> f64 {
        self.metric.better.badness(b) - self.metric.better.badness(a)
    }

    fn winner(&self) -> Option<String> {
        let learners = self.learners();
        let (best, summary) = *learners.first()?;
        let title = self.metric.title;
        let mut text = format!(
            "{} has the best {title} of the methods that learn on {}: {}{}",
            best.name,
            show::periods(&self.results.span),
            show::summary(self.metric, &summary),
            if summary.seeds > 1 { format!(" over {} seeds", summary.seeds) } else { String::new() },
        );
        if let Some((second, value)) = learners.get(1) {
            let lead = self.metric.show(self.gain(summary.mean, value.mean).abs());
            text += &format!(", ahead of {} by {lead}", second.name);
            if let Some(test) = best.against(second, self.metric.name, &self.results.span) {
                let verdict = if test.p < SIGNIFICANT { "" } else { ", which may be luck" };
                text += &format!(" ({}, {}){verdict}", show::p_value(test.p), test.test);
            }
        }
        Some(text + ".")
    }

    fn references(&self) -> Option<String> {
        let (reference, value) = self.results.best_reference(self.metric)?;
        let (losers, winners): (Vec<_>, Vec<_>) =
            self.learners().into_iter().partition(|(_, summary)| self.gain(summary.mean, value.mean) <= 0.0);
        let names = |methods: &[(&MethodResults, Summary)]| {
            show::list(&methods.iter().map(|(method, _)| method.name.as_str()).collect::<Vec<_>>())
        };
        let bar = format!(
            "{} learns nothing and reaches {} {}",
            reference.name,
            self.metric.title,
            self.metric.show(value.mean)
        );
        match (losers.as_slice(), winners.first()) {
            ([], None) => None,
            ([], Some((best, summary))) => Some(format!(
                "{bar}; every method that learns beats it, {} by {}.",
                best.name,
                self.metric.show(self.gain(summary.mean, value.mean))
            )),
            (losers, _) => Some(format!(
                "{bar}, and {} {} not beat it: as long as that is so, what was learned is worth nothing here.",
                names(losers),
                if losers.len() == 1 { "does" } else { "do" }
            )),
        }
    }

    fn ceiling(&self) -> Option<String> {
        let top = self.results.ceiling_mean(self.metric.name)?;
        let (reference, _) = self.results.best_reference(self.metric)?;
        let shares: Vec<String> = self
            .learners()
            .into_iter()
            .filter_map(|(method, _)| {
                let share = self.results.lift_share(method, self.metric)?;
                Some(format!("{} {}", method.name, show::percent(share.mean)))
            })
            .collect();
        (!shares.is_empty()).then(|| {
            format!(
                "The true probabilities would score {}. Of the way from {} to there the methods cover: {}.",
                self.metric.show(top),
                reference.name,
                shares.join(", ")
            )
        })
    }

    fn frozen(&self) -> Option<String> {
        let (frozen, _) = *self.ranked.iter().find(|(method, _)| method.kind == MethodKind::Frozen)?;
        let (updated, _) = self.best_updated()?;
        let lags = self.lags(updated, frozen);
        let third = (lags.len() / 3).max(1);
        let average = |part: &[(u32, f64)]| mean(&part.iter().map(|lag| lag.1).collect::<Vec<_>>());
        let (early, late) = (average(&lags[..third.min(lags.len())])?, average(&lags[lags.len() - third..])?);
        let trend = format!(
            "{} leads it in {} by {} over the first {} and by {} over the last {third}",
            updated.name,
            self.metric.title,
            show::signed(self.metric, early),
            show::plural(third, "period"),
            show::signed(self.metric, late),
        );
        if late <= 0.0 {
            return Some(format!(
                "{} does not fall behind: {trend}. On this log standing still costs little, or the updates bring little.",
                frozen.name
            ));
        }
        let behind = match lags.iter().rposition(|lag| lag.1 <= 0.0) {
            None => "; it is behind in every period".to_owned(),
            Some(last) if last + 1 < lags.len() => format!("; it is behind in every period from {}", lags[last + 1].0),
            Some(_) => String::new(),
        };
        let how = if late > early { "goes stale" } else { "is stale from the first" };
        Some(format!("{} {how}: {trend}{behind}.", frozen.name))
    }

    /// Gain of one method over another by period, averaged over seeds.
    fn lags(&self, ahead: &MethodResults, behind: &MethodResults) -> Vec<(u32, f64)> {
        let all: Range<u32> = self.results.all_periods();
        let value =
            |method: &MethodResults, period| Some(method.summary(self.metric.name, &(period..period + 1))?.mean);
        all.filter_map(|period| Some((period, self.gain(value(ahead, period)?, value(behind, period)?)))).collect()
    }

    fn cost(&self) -> Option<String> {
        let updated: Vec<_> = self.ranked.iter().filter(|(method, _)| method.kind == MethodKind::Updated).collect();
        let seconds =
            |method: &MethodResults| method.train_seconds(&self.results.span).filter(|seconds| *seconds > 0.0);
        let (best, value) = updated.first()?;
        let (cheapest, cheap_value) = updated
            .iter()
            .filter(|(method, _)| seconds(method).is_some())
            .min_by(|a, b| seconds(a.0).unwrap_or(f64::INFINITY).total_cmp(&seconds(b.0).unwrap_or(f64::INFINITY)))?;
        let (cost, least) = (seconds(best)?, seconds(cheapest)?);
        if best.name == cheapest.name {
            let costs = (updated.len() > 1)
                .then(|| format!("{} is also the cheapest to update: {} a period.", best.name, show::seconds(cost)));
            return costs;
        }
        Some(format!(
            "An update of {} takes {:.1} times as long as one of {} ({} against {} a period) and buys {} {}.",
            best.name,
            cost / least,
            cheapest.name,
            show::seconds(cost),
            show::seconds(least),
            self.metric.show(self.gain(value.mean, cheap_value.mean)),
            self.metric.title,
        ))
    }

    /// How often each gate let its candidate through.
    fn gates(&self) -> Vec<String> {
        let sentence = |method: &MethodResults| {
            let gated: Vec<_> = method.seeds.iter().filter(|run| run.is_gated()).collect();
            let served: Vec<Served> = gated.iter().flat_map(|run| run.served().map(|(_, served)| served)).collect();
            let through = served.iter().filter(|served| **served == Served::Candidate).count();
            (!gated.is_empty()).then(|| {
                format!(
                    "The gate of {} let its candidate through in {through} of {} over {}; the base model was served in the \
                     others.",
                    method.name,
                    show::plural(served.len(), "period"),
                    show::plural(gated.len(), "seed"),
                )
            })
        };
        self.results.methods.iter().filter_map(sentence).collect()
    }

    fn calibration(&self) -> Vec<String> {
        let promise = |(method, _): (&'a MethodResults, Summary)| {
            let ratio = method.summary("calibration", &self.results.span)?.mean;
            Some(Promise { method: &method.name, objective: method.objective.as_deref(), ratio })
        };
        warnings(&self.learners().into_iter().filter_map(promise).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn text(edit: impl Fn(&mut Results)) -> String {
        let mut results = sample::marketplace();
        edit(&mut results);
        findings(&results, Metric::named("auc").unwrap()).join("\n")
    }

    /// Moves every AUC of a method.
    fn shift(results: &mut Results, name: &str, by: f64) {
        let method = results.methods.iter_mut().find(|method| method.name == name).unwrap();
        for record in method.seeds.iter_mut().flat_map(|run| &mut run.periods) {
            *record.metrics.values.get_mut("auc").unwrap() += by;
        }
    }

    fn says(edit: impl Fn(&mut Results), expected: &str) {
        let text = text(edit);
        assert!(text.contains(expected), "\"{expected}\" is not in:\n{text}");
    }

    #[test]
    fn the_winner_follows_the_numbers() {
        says(|_| {}, "batch-7 has the best AUC of the methods that learn on periods 24 to 30");
        says(|results| shift(results, "incremental", 0.1), "incremental has the best AUC");
        says(|results| results.methods.truncate(3), "frozen has the best AUC");
    }

    #[test]
    fn a_reference_that_wins_is_said_aloud() {
        says(|_| {}, "every method that learns beats it");
        says(|results| shift(results, "popularity", 0.1), "frozen does not beat it");
        says(|results| shift(results, "popularity", 0.3), "batch-7, incremental and frozen do not beat it");
    }

    #[test]
    fn staleness_is_measured() {
        says(|_| {}, "frozen goes stale: batch-7 leads it in AUC by +0.0");
        says(|_| {}, "it is behind in every period.");
        // Ahead until the flip, which is in period 20.
        says(|results| shift(results, "frozen", 0.03), "it is behind in every period from 21.");
        // Frozen is given the updated method's own numbers.
        let keeps_up = |results: &mut Results| results.methods[2].seeds = results.methods[4].seeds.clone();
        says(keeps_up, "frozen does not fall behind");
    }

    #[test]
    fn the_ceiling_and_the_price_are_named() {
        says(|_| {}, "Of the way from popularity to there the methods cover: batch-7 ");
        says(|_| {}, "An update of batch-7 takes 7.0 times as long as one of incremental");
        assert!(!text(|results| results.ceiling = None).contains("true probabilities"));
    }

    #[test]
    fn without_methods_there_is_nothing_to_say() {
        assert_eq!(text(|results| results.methods.clear()), "");
    }
}
