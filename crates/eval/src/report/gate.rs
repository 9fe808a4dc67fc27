//! What gates let through: the gain of each candidate by period, and what was served.

use super::{Page, escape};
use crate::{Criterion, GateDecision, SeedResults, Served, Summary, show};

impl Page<'_> {
    /// One plot for each criterion that a gate judges by.
    pub(super) fn gate_figures(&self) -> String {
        [Criterion::Auc, Criterion::LogLoss].into_iter().filter_map(|criterion| self.gate_figure(criterion)).collect()
    }

    fn gate_figure(&self, criterion: Criterion) -> Option<String> {
        let metric = criterion.metric();
        let lines = self.lines(|method, period| {
            let decisions = method.seeds.iter().filter_map(|run| run.decision(period));
            let judged = decisions.filter(|decision| decision.criterion == criterion);
            Summary::of(&judged.filter_map(|decision| decision.gain_of_period()).collect::<Vec<_>>())
        });
        (!lines.is_empty()).then(|| {
            let title = format!("{} gained by candidates over the base model", metric.title);
            let caption = "Behind a gate both score every period, and the candidate is served only while it is ahead. \
                           Above zero is better.";
            self.figure(&title, "difference, up is better", caption, true, lines, metric.digits)
        })
    }

    /// A row per run behind a gate: what was served in each period, and why that changed.
    pub(super) fn gate_table(&self) -> String {
        let mut rows = String::new();
        for method in &self.results.methods {
            for run in method.seeds.iter().filter(|run| run.is_gated()) {
                rows += &format!(
                    "<tr><th scope=\"row\"><span>{}{}</span></th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    self.swatch(method),
                    escape(&method.name),
                    run.seed,
                    strip(run),
                    changes(run)
                );
            }
        }
        if rows.is_empty() {
            return rows;
        }
        format!(
            "<section>\n<h2>Gates</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>Method</th><th>Seed</th>\
             <th>Served<small>● candidate, ○ base model</small></th><th>Changes</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table></div>\n</section>\n"
        )
    }
}

/// A mark for each period.
fn strip(run: &SeedResults) -> String {
    let mark = |served: Served| if served == Served::Candidate { '●' } else { '○' };
    run.served().map(|(_, served)| mark(served)).collect()
}

fn changes(run: &SeedResults) -> String {
    let changed =
        run.periods.iter().filter_map(|record| Some((record.period, record.gate.filter(|gate| gate.changed())?)));
    let changes: Vec<String> = changed.map(|(period, decision)| escape(&sentence(period, &decision))).collect();
    if changes.is_empty() { "none".into() } else { changes.join("<br>") }
}

fn sentence(period: u32, decision: &GateDecision) -> String {
    let (verb, share, side) = match decision.served {
        Served::Candidate => ("promoted", decision.above, "above"),
        Served::Base => ("demoted", decision.below, "below"),
    };
    // A gain is above zero where the candidate is better, whatever the direction of the metric.
    let gain = decision
        .gain
        .map_or_else(String::new, |gain| format!("{gain:+.*}", decision.criterion.metric().digits).replace('-', "−"));
    format!(
        "{verb} after period {period}: mean gain {gain} over {}, {} of draws {side} the margin",
        show::plural(decision.periods as usize, "period"),
        share.map_or_else(String::new, show::percent)
    )
}

#[cfg(test)]
mod tests {
    use crate::{Criterion, GateDecision, Results, Served, findings, sample, to_html};

    /// The sample, with a gate on its last method: promoted after period 14, demoted after period 21.
    fn gated() -> Results {
        let mut results = sample::marketplace();
        for record in results.methods[4].seeds.iter_mut().flat_map(|run| &mut run.periods) {
            let served = |period| if (15..22).contains(&period) { Served::Candidate } else { Served::Base };
            let decision = GateDecision {
                served: served(record.period + 1),
                before: served(record.period),
                criterion: Criterion::Auc,
                candidate: Some(0.72),
                base: Some(0.71),
                periods: 3,
                gain: Some(if record.period == 21 { -0.0123 } else { 0.0123 }),
                above: Some(0.97),
                below: Some(0.88),
            };
            // Nothing follows the last period.
            record.gate = (record.period < 30).then_some(decision);
        }
        results
    }

    #[test]
    fn the_page_shows_when_candidates_were_served() {
        let page = to_html(&gated(), "auc", None).unwrap();
        // Periods 11 to 30; served in 15 to 21.
        assert_eq!(page.matches("○○○○●●●●●●●○○○○○○○○○").count(), 3, "one row per seed");
        let text = "promoted after period 14: mean gain +0.0123 over 3 periods, 97 % of draws above the margin";
        assert!(page.contains(text));
        assert!(page.contains("demoted after period 21: mean gain −0.0123 over 3 periods, 88 % of draws below"));
        assert!(page.contains("AUC gained by candidates") && !page.contains("LogLoss gained by candidates"));
    }

    #[test]
    fn without_gates_nothing_is_said_of_them() {
        let results = sample::marketplace();
        let page = to_html(&results, "auc", None).unwrap();
        assert!(!page.contains("Gates") && !page.contains("candidate"));
        assert!(!results.to_json().contains("gate"));
        assert!(findings(&results, Criterion::Auc.metric()).iter().all(|text| !text.contains("gate")));
    }

    #[test]
    fn results_with_gates_read_back_and_are_summed_up() {
        let results = gated();
        assert_eq!(Results::from_json(&results.to_json()).unwrap(), results);
        assert_ne!(results.digest(), sample::marketplace().digest());
        let expected = "The gate of batch-7 let its candidate through in 21 of 60 periods over 3 seeds";
        let findings = findings(&results, Criterion::Auc.metric());
        assert!(findings.iter().any(|text| text.contains(expected)), "{findings:?}");
    }
}
