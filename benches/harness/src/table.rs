//! The Markdown of a run: how the peers compare, every figure with its spread, requests by verb, and
//! what a reader must know to judge it. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::budgets;
use crate::figures::{self, BINARY_BYTES, Figure, GROUPS, IMAGE_BYTES, IMAGE_GZIP_BYTES, Unit};
use crate::machine::Noise;
use crate::results::Run;
use crate::settings::OURS;
use crate::stats::{NOTABLE_SPREAD, Summary};

/// How many times our own figure each peer's is, in this run. Empty without us or without peers.
pub fn comparison(run: &Run) -> String {
    let operators = run.operators();
    let peers: Vec<&str> = operators.iter().copied().filter(|operator| *operator != OURS).collect();
    if peers.is_empty() || !operators.contains(&OURS) {
        return String::new();
    }
    let mut text = header("", std::iter::once("this operator").chain(peers.iter().copied()));
    for figure in figures::headlines() {
        let ours = summary(run, OURS, figure.key);
        let theirs: Vec<Option<Summary>> = peers.iter().map(|peer| summary(run, peer, figure.key)).collect();
        if ours.is_none() && theirs.iter().all(Option::is_none) {
            continue;
        }
        let shown = |summary: &Summary| with_spread(figure.unit, summary);
        let _ = write!(text, "| {} | {} |", figure.label, ours.as_ref().map_or_else(|| "–".into(), shown));
        for theirs in &theirs {
            let cell = theirs.as_ref().map_or_else(
                || "–".into(),
                |theirs| match &ours {
                    Some(ours) if ours.median > 0.0 && theirs.median > 0.0 => {
                        format!("**{}×** {}", times(theirs.median / ours.median), shown(theirs))
                    }
                    _ => shown(theirs),
                },
            );
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

/// Every figure: the median, and where there is more than one round, (least..most).
pub fn figures(run: &Run) -> String {
    let operators = run.operators();
    let mut text = header("", operators.iter().map(|operator| title(operator)));
    for group in GROUPS {
        let rows: Vec<String> = group.figures.iter().filter_map(|figure| row(run, figure, &operators)).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "| **{}** |{}", group.title, " |".repeat(operators.len()));
            text.push_str(&rows.concat());
        }
    }
    text
}

fn row(run: &Run, figure: &Figure, operators: &[&str]) -> Option<String> {
    let summaries: Vec<Option<Summary>> = operators.iter().map(|operator| summary(run, operator, figure.key)).collect();
    if summaries.iter().all(Option::is_none) {
        return None;
    }
    let cell =
        |summary: &Option<Summary>| summary.map_or_else(|| "–".into(), |summary| with_spread(figure.unit, &summary));
    let cells: Vec<String> = summaries.iter().map(cell).collect();
    Some(format!("| {} | {} |\n", figure.label, cells.join(" | ")))
}

pub fn with_spread(unit: Unit, summary: &Summary) -> String {
    let median = figures::format(unit, summary.median);
    if summary.samples < 2 || summary.least >= summary.most {
        return median;
    }
    let (least, most) = (figures::format(unit, summary.least), figures::format(unit, summary.most));
    if least == most { median } else { format!("{median} ({least}..{most})") }
}

/// Requests an InferenceService while they are created, and all at a restart, by verb and resource.
pub fn requests(run: &Run) -> String {
    let operators = run.operators();
    let crs = run.plan.crs.max(1) as f64;
    let mut text = String::new();
    for (phase, title_of_phase, divisor) in [
        ("create", "Requests an InferenceService, from creation to Ready", crs),
        ("settled", "Requests while settled", 1.0),
        ("restart", "Requests at a restart", 1.0),
    ] {
        let by_operator: Vec<_> = operators.iter().map(|operator| run.requests(operator, phase)).collect();
        let kinds: BTreeSet<&String> = by_operator.iter().flat_map(|counts| counts.keys()).collect();
        if kinds.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&header(title_of_phase, operators.iter().map(|operator| title(operator))));
        for kind in kinds {
            let cell = |counts: &std::collections::BTreeMap<String, f64>| match counts.get(kind) {
                Some(count) if divisor > 1.0 => figures::format(Unit::Ratio, count / divisor),
                Some(count) => figures::whole(*count),
                None => "0".into(),
            };
            let cells: Vec<String> = by_operator.iter().map(cell).collect();
            let _ = writeln!(text, "| {kind} | {} |", cells.join(" | "));
        }
    }
    text
}

/// Memory and restart time against the number of InferenceServices, at the points that are `wanted`.
pub fn scale(run: &Run, wanted: impl Fn(usize) -> bool) -> String {
    let mut text = String::new();
    for operator in run.operators() {
        for crs in run.plan.scale_points.iter().copied().filter(|&crs| wanted(crs)) {
            let of_round = |get: fn(&crate::results::ScalePoint) -> Option<f64>| {
                let points = run.rounds_of(operator).flat_map(|round| &round.scale).filter(|point| point.crs == crs);
                Summary::of(&points.filter_map(get).collect::<Vec<_>>())
            };
            let cell = |summary: Option<Summary>, unit| {
                summary.map_or_else(|| "–".into(), |summary| with_spread(unit, &summary))
            };
            let created = of_round(|point| Some(point.rss_bytes as f64));
            if created.is_none() {
                continue;
            }
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                title(operator),
                figures::whole(crs as f64),
                cell(created, Unit::Bytes),
                cell(of_round(|point| Some(point.restarted_rss_bytes as f64)), Unit::Bytes),
                cell(of_round(|point| point.restarted_peak_bytes.map(|bytes| bytes as f64)), Unit::Bytes),
                cell(of_round(|point| point.restart_seconds), Unit::Seconds),
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    text.extend(run.operators().into_iter().filter_map(|operator| slope(run, operator)));
    let columns = ["InferenceServices", "RSS, settled", "RSS after a restart", "peak at it", "time of it"];
    header("operator", columns.into_iter()) + &text
}

fn slope(run: &Run, operator: &str) -> Option<String> {
    let (from, to, slope) = budgets::slope(run, operator)?;
    let (from, to) = (figures::whole(from as f64), figures::whole(to as f64));
    let bytes = with_spread(Unit::Bytes, &slope);
    Some(format!("| {} | one more, {from} to {to} | | {bytes}, anonymous | | |\n", title(operator)))
}

/// What a reader must know: how it was measured, and what makes it doubtful. One line each.
pub fn remarks(run: &Run) -> Vec<String> {
    remarks_with(run, spread_warning(run))
}

/// The same for a page on which not every figure is.
pub fn remarks_in_short(run: &Run) -> Vec<String> {
    remarks_with(run, spread_warning_in_short(run))
}

fn remarks_with(run: &Run, spread_warning: Option<String>) -> Vec<String> {
    let mut lines = vec![measured(run)];
    lines.extend(run.notes.clone());
    for operator in run.operators() {
        let notes: BTreeSet<&String> = run.rounds_of(operator).flat_map(|round| &round.notes).collect();
        lines.extend(notes.into_iter().map(|note| format!("{}: {note}.", title(operator))));
    }
    lines.extend(spread_warning);
    lines.extend(noise_warning(run));
    if run.machine.reclaims_memory {
        lines.push("The kernel of this machine takes away pages that are not used for a while (kdamond), which makes the file-backed part of RSS smaller the longer a process idles.".into());
    }
    lines
}

fn measured(run: &Run) -> String {
    let (plan, machine) = (&run.plan, &run.machine);
    let versions: Vec<String> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let rounds =
        if plan.rounds == 1 { "1 round".into() } else { format!("median of {} rounds (least..most)", plan.rounds) };
    format!(
        "Measured with `{}` at commit {} on {}: {}, {} cores, {:.1} GB, Linux {}; {rounds}; {}. 1 MB is 1,000,000 bytes.",
        run.command,
        run.commit,
        run.started.get(..10).unwrap_or(&run.started),
        machine.model,
        machine.cores,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        versions.join(", ")
    )
}

/// The figures whose spread between rounds is notable, of each operator, and that spread.
fn shaky<'a>(run: &'a Run) -> impl Iterator<Item = (&'static Figure, &'a str, f64)> {
    let figures = GROUPS.iter().flat_map(|group| group.figures);
    figures.flat_map(move |figure| {
        let spread = move |operator: &str| Some(summary(run, operator, figure.key)?.relative_spread());
        let of_operator = move |operator: &'a str| Some((figure, operator, spread(operator)?));
        run.operators().into_iter().filter_map(of_operator).filter(|(.., spread)| *spread > NOTABLE_SPREAD)
    })
}

/// The headlines by name, the others by number: what shakes in a table of a hundred figures is in the table.
fn spread_warning(run: &Run) -> Option<String> {
    let (mut found, mut others) = (Vec::new(), 0);
    for (figure, operator, spread) in shaky(run) {
        if !figure.is_headline {
            others += 1;
        } else if spread.is_infinite() {
            found.push(format!("\"{}\" of {} (not 0 in every round)", figure.label, title(operator)));
        } else {
            found.push(format!("\"{}\" of {} ({:.0}%)", figure.label, title(operator), spread * 100.0));
        }
    }
    if others > 0 {
        found.push(format!("{others} of the figures that are only in the table of all figures"));
    }
    (!found.is_empty()).then(|| format!("**Warning:** the spread between rounds is over 10% for {}.", found.join(", ")))
}

fn spread_warning_in_short(run: &Run) -> Option<String> {
    let count = shaky(run).count();
    let say = || {
        format!(
            "**Warning:** the spread between rounds is over 10% for {count} of the figures: see the table of all figures."
        )
    };
    (count > 0).then(say)
}

fn noise_warning(run: &Run) -> Option<String> {
    let busy: Vec<String> = run
        .rounds
        .iter()
        .filter(|round| round.noise.is_notable())
        .map(|round| {
            let Noise { foreign_share, load_before } = &round.noise;
            format!(
                "{} round {} ({:.0}%, load before {:.1})",
                title(&round.operator),
                round.number,
                foreign_share * 100.0,
                load_before[0]
            )
        })
        .collect();
    (!busy.is_empty()).then(|| {
        format!(
            "**Warning:** the machine was noisy: something else used more than 5% of its time in {}.",
            busy.join(", ")
        )
    })
}

/// Of a figure, sizes included.
pub fn summary(run: &Run, operator: &str, key: &str) -> Option<Summary> {
    let size = || run.sizes.get(operator);
    match key {
        BINARY_BYTES => Summary::of(&[size()?.binary_bytes as f64]),
        IMAGE_BYTES => Summary::of(&[size()?.image_bytes as f64]),
        IMAGE_GZIP_BYTES => Summary::of(&[size()?.image_gzip_bytes as f64]),
        key => run.summary(operator, key),
    }
}

fn title(operator: &str) -> &str {
    if operator == OURS { "this operator" } else { operator }
}

fn header<'a>(first: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let columns: Vec<&str> = columns.collect();
    format!("| {first} | {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len()))
}

fn times(ratio: f64) -> String {
    if ratio >= 10.0 { format!("{ratio:.0}") } else { format!("{ratio:.1}") }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::results::Round;
    use crate::settings::{Mode, Plan, Target};
    use crate::size::Size;

    pub fn run() -> Run {
        let plan = Plan {
            mode: Mode::Run,
            target: Target::Local,
            crs: 100,
            zero_share: 0.9,
            operators: vec![OURS.into(), "kube-rs".into()],
            rounds: 2,
            settled_seconds: 60,
            changes: 1,
            noise: 1,
            bulky: 1,
            scale_points: Vec::new(),
            soak_minutes: 0,
            quick: false,
        };
        let round = |operator: &str, number: usize, rss: f64, foreign_share: f64| {
            let mut round = Round { operator: operator.into(), number, ..Round::default() };
            round.set("settled.rss_bytes", rss);
            round.noise.foreign_share = foreign_share;
            round.requests.insert("create".into(), [("patch deployments".to_owned(), 100)].into());
            round
        };
        let size = |binary_bytes| Size { binary_bytes, ..Size::default() };
        Run {
            command: "scripts/bench.sh".into(),
            commit: "abc".into(),
            started: "2026-11-22T21:00:00Z".into(),
            machine: crate::machine::Machine::default(),
            versions: [("kubernetes".to_owned(), "v1.36.4".to_owned())].into(),
            plan,
            sizes: [(OURS.to_owned(), size(2_000_000)), ("kube-rs".to_owned(), size(14_000_000))].into(),
            notes: vec!["A note.".into()],
            budgets: Vec::new(),
            rounds: vec![
                round(OURS, 1, 4.0e6, 0.01),
                round("kube-rs", 1, 300.0e6, 0.2),
                round(OURS, 2, 4.1e6, 0.01),
                round("kube-rs", 2, 360.0e6, 0.01),
            ],
        }
    }

    #[test]
    fn the_comparison_tells_how_many_times_ours() {
        let text = comparison(&run());
        assert!(text.starts_with("|  | this operator | kube-rs |\n|---|---:|---:|\n"), "{text}");
        assert!(
            text.contains("| RSS, settled | 4.05 MB (4 MB..4.10 MB) | **81×** 330 MB (300 MB..360 MB) |\n"),
            "{text}"
        );
        assert!(text.contains("| Binary | 2 MB | **7.0×** 14.0 MB |\n"), "{text}");
    }

    #[test]
    fn the_table_has_medians_with_their_spread() {
        let text = figures(&run());
        assert!(text.contains("| RSS, settled | 4.05 MB (4 MB..4.10 MB) | 330 MB (300 MB..360 MB) |\n"), "{text}");
        assert!(requests(&run()).contains("| patch deployments | 1 | 1 |\n"), "{}", requests(&run()));
    }

    #[test]
    fn what_makes_it_doubtful_is_said() {
        let remarks = remarks(&run()).join("\n");
        assert!(
            remarks.contains("the spread between rounds is over 10% for \"RSS, settled\" of kube-rs (18%)."),
            "{remarks}"
        );
        assert!(remarks.contains("more than 5% of its time in kube-rs round 1 (20%, load before 0.0)."), "{remarks}");
    }
}
