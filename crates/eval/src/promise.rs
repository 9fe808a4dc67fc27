//! Whether probabilities can be taken at their word, and whether a loss is why they cannot.

use crate::show;

/// Clicks that a method promised over clicks that were seen, and its loss.
#[derive(Debug, Clone)]
pub(crate) struct Promise<'a> {
    pub(crate) method: &'a str,
    /// `None` for plain cross-entropy.
    pub(crate) objective: Option<&'a str>,
    /// Mean prediction over mean label.
    pub(crate) ratio: f64,
}

/// So far from 1 a ratio is worth a word.
const WORTH_A_WORD: f64 = 0.05;

/// A loss is to blame for what is so much farther from 1 than the worst of plain cross-entropy.
const BLAME: f64 = 0.02;

impl Promise<'_> {
    fn off(&self) -> f64 {
        (self.ratio - 1.0).abs()
    }

    fn shown(&self) -> String {
        let side = if self.ratio > 1.0 { "more" } else { "fewer" };
        format!("{} {} {side}", self.method, show::percent(self.off()))
    }
}

/// Warnings, worst news first: losses that drag probabilities away from clicks (ReLoop's self-correction does, above all where
/// earlier scores were wrong), then all that is off.
pub(crate) fn warnings(promises: &[Promise<'_>]) -> Vec<String> {
    let off: Vec<&Promise<'_>> = promises.iter().filter(|promise| promise.off() >= WORTH_A_WORD).collect();
    let plain = promises.iter().filter(|promise| promise.objective.is_none()).map(Promise::off).reduce(f64::max);
    let dragged = |promise: &&&Promise<'_>| {
        promise.objective.is_some() && plain.is_some_and(|plain| promise.off() >= plain + BLAME)
    };
    let dragged: Vec<String> = off.iter().filter(dragged).map(|p| with_loss(p)).collect();
    let mut all = Vec::new();
    if !dragged.is_empty() {
        all.push(format!(
            "A loss drags probabilities away from clicks: {}. Plain cross-entropy is at most {} off; lower the weight of \
             the other terms.",
            dragged.join("; "),
            show::percent(plain.unwrap_or_default()),
        ));
    }
    if !off.is_empty() {
        let off: Vec<String> = off.iter().map(|promise| promise.shown()).collect();
        all.push(format!(
            "Some probabilities cannot be taken at their word. Clicks promised against clicks seen: {}.",
            off.join(", ")
        ));
    }
    all
}

fn with_loss(promise: &Promise<'_>) -> String {
    format!("{} ({})", promise.shown(), promise.objective.unwrap_or("bce"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise<'a>(method: &'a str, objective: Option<&'a str>, ratio: f64) -> Promise<'a> {
        Promise { method, objective, ratio }
    }

    #[test]
    fn a_loss_is_blamed_for_what_plain_cross_entropy_does_not_do() {
        let loss = Some("0.3 bce + 0.7 self_correction");
        let said = warnings(&[promise("plain", None, 1.02), promise("reloop", loss, 0.88)]).join("\n");
        assert!(said.starts_with("A loss drags probabilities away from clicks: reloop 12 % fewer"), "{said}");
        assert!(said.contains("0.7 self_correction") && said.contains("at most 2 % off"), "{said}");
        // Where plain training is as far off, the loss is not why.
        let said = warnings(&[promise("plain", None, 1.11), promise("reloop", loss, 0.88)]);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("plain 11 % more, reloop 12 % fewer"), "{said:?}");
        // With nothing to compare with, nobody is blamed.
        assert_eq!(warnings(&[promise("reloop", loss, 0.88)]).len(), 1);
    }

    #[test]
    fn what_is_right_needs_no_words() {
        assert!(warnings(&[promise("plain", None, 1.04), promise("reloop", Some("x"), 0.96)]).is_empty());
        assert!(warnings(&[]).is_empty());
    }
}
