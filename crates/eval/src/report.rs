//! The report: one HTML file that needs nothing else, with plots drawn here as SVG.
//!
//! Plots are made by hand rather than by a plotting library, because they must follow the page: colours are CSS
//! variables (light and dark), every line carries its method so that the legend can hide it, and every period carries
//! its values for the tooltip. A drawing backend that emits finished shapes offers none of that.

mod gate;
mod plot;
mod table;

use crate::{Error, METRICS, MethodKind, MethodResults, Metric, PeriodFacts, Results, Summary, findings, show};
use plot::{Bars, Line, Lines, Point, Stroke};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The page. `metric` is what methods are ranked by; `baseline` is the method that the others are tested against, by
/// default the frozen one, else the best reference, else the first.
///
/// Errs on an unknown metric or baseline, and on results that contradict themselves.
pub fn to_html(results: &Results, metric: &str, baseline: Option<&str>) -> Result<String, Error> {
    results.check()?;
    let page = Page { results, metric: Metric::named(metric)?, baseline: choose_baseline(results, metric, baseline)? };
    Ok(page.html())
}

fn choose_baseline<'a>(
    results: &'a Results,
    metric: &str,
    name: Option<&str>,
) -> Result<Option<&'a MethodResults>, Error> {
    if let Some(name) = name {
        return results.method(name).map(Some);
    }
    let frozen = results.methods.iter().find(|method| method.kind == MethodKind::Frozen);
    let reference = results.best_reference(Metric::named(metric)?).map(|(method, _)| method);
    Ok(frozen.or(reference).or(results.methods.first()))
}

/// Text as HTML shows it, also inside double-quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// The id of the ceiling where methods have their position.
const CEILING: &str = "ceiling";

struct Page<'a> {
    results: &'a Results,
    metric: &'static Metric,
    baseline: Option<&'a MethodResults>,
}

impl Page<'_> {
    fn html(&self) -> String {
        let title = escape(&self.results.experiment);
        let (style, script) = (include_str!("report/style.css"), include_str!("report/script.js"));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{style}</style>\n</head>\n<body>\n<main>\n{}{}{}{}{}{}{}</main>\n\
             <div id=\"tip\" hidden></div>\n<script>\n{script}</script>\n</body>\n</html>\n",
            self.header(),
            self.reading(),
            table::methods(self.results, self.metric, self.baseline, &|method| self.swatch(method)),
            self.gate_table(),
            self.legend(),
            self.plots(),
            glossary(),
        )
    }

    fn header(&self) -> String {
        let results = self.results;
        let (rows, positives) = results
            .periods
            .iter()
            .fold((0, 0), |(rows, positives), facts| (rows + facts.rows, positives + facts.positives));
        // References have no use for seeds and one of their own.
        let learners = results.methods.iter().filter(|method| method.kind != MethodKind::Reference);
        let seeds: BTreeSet<u64> = learners.flat_map(|method| &method.seeds).map(|run| run.seed).collect();
        let mut facts = vec![show::plural(results.periods.len(), "scored period")];
        if let (Some(first), Some(last)) = (results.periods.first(), results.periods.last()) {
            facts.push(format!("{} to {}", show::time(first.start), show::time(last.end)));
        }
        facts.push(format!("{} rows", show::count(rows)));
        if rows > 0 {
            facts.push(format!("{} positive", show::percent(positives as f64 / rows as f64)));
        }
        facts.push(show::plural(seeds.len(), "seed"));
        facts.push(format!("averages over {}", show::periods(&results.span)));
        facts.push(format!("results {}", results.digest().short()));
        let facts: String = facts.iter().map(|fact| format!("<span>{}</span>", escape(fact))).collect();
        format!(
            "<header>\n<h1>{}</h1>\n<p class=\"log\">on {}</p>\n<p class=\"facts\">{facts}</p>\n</header>\n",
            escape(&results.experiment),
            escape(&results.log),
        )
    }

    fn reading(&self) -> String {
        let sentences = findings(self.results, self.metric);
        if sentences.is_empty() {
            return String::new();
        }
        let items: String = sentences.iter().map(|text| format!("<li>{}</li>\n", escape(text))).collect();
        format!("<section class=\"reading\">\n<h2>What to read from this</h2>\n<ul>\n{items}</ul>\n</section>\n")
    }

    fn swatch(&self, method: &MethodResults) -> String {
        swatch(self.stroke(method))
    }

    /// Methods that learn have a colour each, references a pattern of grey dashes each.
    fn stroke(&self, method: &MethodResults) -> Stroke {
        let reference = |other: &&MethodResults| other.kind == MethodKind::Reference;
        let before = self.results.methods.iter().take_while(|other| other.name != method.name);
        if method.kind == MethodKind::Reference {
            Stroke::Dashed(before.filter(reference).count())
        } else {
            Stroke::Solid(before.filter(|other| !reference(other)).count())
        }
    }

    fn legend(&self) -> String {
        let mut entries = String::new();
        for (i, method) in self.results.methods.iter().enumerate() {
            entries += &legend_entry(&i.to_string(), &method.name, self.stroke(method));
        }
        if self.results.ceiling.is_some() {
            entries += &legend_entry(CEILING, "true probabilities", Stroke::Ceiling);
        }
        format!("<nav class=\"legend\" aria-label=\"Methods\">\n{entries}<small>click to hide</small>\n</nav>\n")
    }

    fn plots(&self) -> String {
        let mut figures = self.metric_figure(self.metric, true);
        figures += &self.advantage_figure().unwrap_or_default();
        figures += &self.gate_figures();
        for metric in METRICS.into_iter().filter(|metric| metric.name != self.metric.name) {
            figures += &self.metric_figure(metric, false);
        }
        figures += &self.rows_figure();
        figures += &self.novelty_figure().unwrap_or_default();
        figures += &self.training_figure().unwrap_or_default();
        format!("<section class=\"plots\">\n{figures}</section>\n")
    }

    /// One line per method from a value per period; lines without a point are left out.
    fn lines(&self, point: impl Fn(&MethodResults, u32) -> Option<Summary>) -> Vec<Line> {
        let line = |(i, method): (usize, &MethodResults)| {
            let points = self.results.periods.iter().map(|facts| point(method, facts.index).map(Point::from)).collect();
            Line { id: i.to_string(), name: method.name.clone(), stroke: self.stroke(method), points }
        };
        self.results.methods.iter().enumerate().map(line).filter(Line::has_points).collect()
    }

    fn metric_figure(&self, metric: &'static Metric, wide: bool) -> String {
        let mut lines = self.lines(|method, period| method.summary(metric.name, &(period..period + 1)));
        let ceiling = self.results.ceiling_values(metric.name, &self.results.all_periods());
        let points = self.results.periods.iter().map(|facts| ceiling.get(&facts.index).copied().map(Point::exact));
        let name = "true probabilities".to_owned();
        lines.push(Line { id: CEILING.into(), name, stroke: Stroke::Ceiling, points: points.collect() });
        lines.retain(Line::has_points);
        let caption = format!("{} Bands: standard deviation over seeds.", metric.meaning);
        self.figure(
            &format!("{} by period", metric.title),
            &format!("{}, {}", metric.unit, metric.better.describe()),
            &caption,
            wide,
            lines,
            metric.digits,
        )
    }

    /// The weather of a period is shared by all methods; differences to the baseline show what is left.
    fn advantage_figure(&self) -> Option<String> {
        let (baseline, metric) = (self.baseline?, self.metric);
        let sign = (metric.better.badness(1.5) - metric.better.badness(2.0)).signum();
        let lines = self.lines(|method, period| {
            if method.name == baseline.name {
                return None;
            }
            let differences = method.differences(baseline, metric.name, &(period..period + 1));
            Summary::of(&differences.into_iter().flatten().map(|value| sign * value).collect::<Vec<_>>())
        });
        (!lines.is_empty()).then(|| {
            let title = format!("{} gained over {}", metric.title, baseline.name);
            let caption = "The difference seed by seed, so that what makes a period easy or hard for everyone cancels. \
                           Above zero is better.";
            self.figure(&title, "difference, up is better", caption, true, lines, metric.digits)
        })
    }

    fn novelty_figure(&self) -> Option<String> {
        let line = |id: &str, name: &str, colour, share: fn(&PeriodFacts) -> Option<f64>| Line {
            id: id.into(),
            name: name.into(),
            stroke: Stroke::Solid(colour),
            points: self
                .results
                .periods
                .iter()
                .map(|facts| share(facts).map(|share| Point::exact(100.0 * share)))
                .collect(),
        };
        let mut lines = vec![
            line("users", "new users", 5, |facts| facts.new_user_share),
            line("items", "new items", 3, |facts| facts.new_item_share),
        ];
        lines.retain(Line::has_points);
        (!lines.is_empty()).then(|| {
            let names = lines.iter().map(|line| format!("{} {}", swatch(line.stroke), line.name)).collect::<Vec<_>>();
            let caption =
                format!("Of the users and items of each period, those never seen before. {}", names.join(" "));
            self.raw_figure("Share of newcomers", "%", &caption, false, &self.draw(lines, true, false, 1))
        })
    }

    fn training_figure(&self) -> Option<String> {
        let lines = self.lines(|method, period| {
            let of_run =
                |run: &crate::SeedResults| run.periods.iter().find(|record| record.period == period)?.train_seconds;
            Summary::of(&method.seeds.iter().filter_map(of_run).collect::<Vec<_>>())
        });
        (!lines.is_empty()).then(|| {
            let caption = "Wall clock of the update after each period. Methods that were never updated have no line.";
            self.raw_figure("Training time", "seconds", caption, false, &self.draw(lines, true, false, 2))
        })
    }

    fn rows_figure(&self) -> String {
        let bars = Bars { periods: &self.results.periods, span: &self.results.span };
        let caption = "Rows scored in each period; the lower, darker part are the positives.";
        self.raw_figure("Data volume", "rows", caption, false, &bars.svg())
    }

    fn draw(&self, lines: Vec<Line>, from_zero: bool, wide: bool, digits: usize) -> String {
        Lines { periods: &self.results.periods, span: &self.results.span, lines, from_zero, wide, digits }.svg()
    }

    fn figure(&self, title: &str, unit: &str, caption: &str, wide: bool, lines: Vec<Line>, digits: usize) -> String {
        let outside =
            Lines { periods: &self.results.periods, span: &self.results.span, lines, from_zero: false, wide, digits };
        let mut caption = escape(caption);
        let beyond = outside.beyond_frame();
        if !beyond.is_empty() {
            let _ = write!(caption, " Outside the frame: {}.", escape(&beyond.join(", ")));
        }
        self.raw_figure(title, unit, &caption, wide, &outside.svg())
    }

    /// `caption` is HTML.
    fn raw_figure(&self, title: &str, unit: &str, caption: &str, wide: bool, svg: &str) -> String {
        let class = if wide { " class=\"wide\"" } else { "" };
        format!(
            "<figure{class}>\n<h3>{} <small>{}</small></h3>\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n",
            escape(title),
            escape(unit)
        )
    }
}

fn swatch(stroke: Stroke) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path d=\"M1 5H25\" {}/></svg>",
        stroke.attributes()
    )
}

fn legend_entry(id: &str, name: &str, stroke: Stroke) -> String {
    format!(
        "<button type=\"button\" aria-pressed=\"true\" data-toggle=\"{id}\">{}{}</button>\n",
        swatch(stroke),
        escape(name)
    )
}

fn glossary() -> String {
    let terms: String = METRICS
        .into_iter()
        .map(|metric| {
            format!(
                "<dt>{}</dt><dd>{} {}. Undefined without {}.</dd>\n",
                escape(metric.title),
                escape(metric.meaning),
                sentence(metric.better.describe()),
                escape(metric.needs)
            )
        })
        .collect();
    format!(
        "<section class=\"glossary\">\n<h2>How this was measured</h2>\n\
         <p>Every period is scored before anything may learn from it. Values are averaged over the shaded periods, then \
         over seeds; ± is the standard deviation over seeds. Tests pair the same seeds and periods: with several seeds \
         a t-test over the seeds' averages, which speaks of other seeds on these periods; with one, a sign-flip test \
         over periods. They are not corrected for the number of comparisons.</p>\n<dl>\n{terms}</dl>\n</section>\n"
    )
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn page() -> String {
        let page = to_html(&sample::marketplace(), "auc", None).unwrap();
        // For a look at the page: PERENNIAL_REPORT=report.html cargo test -p perennial-eval report
        if let Some(path) = std::env::var_os("PERENNIAL_REPORT") {
            std::fs::write(path, &page).unwrap();
        }
        page
    }

    #[test]
    fn stands_alone_and_escapes_names() {
        let page = page();
        assert!(page.contains("marketplace &lt;demo&gt;") && !page.contains("<demo>"));
        for network in ["http:", "https:", "src=", "@import", "url(http"] {
            assert!(!page.contains(network), "the page refers to {network}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut results = sample::marketplace();
        results.methods[4].name = "\"><script>alert('x')</script>".into();
        results.methods[4].description = "<img onerror=1>".into();
        let page = to_html(&results, "log_loss", None).unwrap();
        assert_eq!(page.matches("<script").count(), 1);
        assert!(!page.contains("<img"));
    }

    #[test]
    fn every_metric_has_a_plot_with_every_method() {
        let page = page();
        for metric in METRICS {
            assert!(page.contains(&format!("<h3>{} by period", metric.title)), "{}", metric.name);
        }
        // 6 metrics, the gain over frozen (which has none itself), training time of the two that are updated.
        assert_eq!(page.matches("<g data-m=\"2\"").count(), 6);
        assert_eq!(page.matches("<g data-m=\"4\"").count(), 6 + 1 + 1);
        assert_eq!(page.matches("<g data-m=\"ceiling\"").count(), 6);
        assert!(page.contains("Outside the frame: constant"), "a far reference must not flatten the others");
    }

    #[test]
    fn empty_results_make_a_page() {
        let mut results = sample::marketplace();
        results.methods.clear();
        results.periods.clear();
        results.ceiling = Some(Vec::new());
        assert!(to_html(&results, "auc", None).unwrap().contains("</html>"));
        assert!(to_html(&results, "auc", Some("frozen")).is_err());
    }
}
