//! The block of docs/benchmarks.md, made from a folder of results, so that no claim is typed by hand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::budgets;
use crate::figures;
use crate::report::{BY_COUNT, OVER_TIME, PLOTS};
use crate::results::{Folder, Run};
use crate::settings::OURS;
use crate::table;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// The points of a --scale that docs/benchmarks.md shows, beside its last one; table.md has all.
const POINTS: [usize; 5] = [0, 5_000, 20_000, 50_000, 100_000];

/// Replaces what is between the markers of `readme` by what the folders hold, the first one leading.
pub fn rewrite(readme: &Path, folders: &[PathBuf]) -> Result<()> {
    let mut told = Vec::new();
    for folder in folders {
        let run = Folder(folder.clone()).result()?;
        if !run.is_complete() {
            bail!("{} is of a run that is not finished", folder.display());
        }
        told.push(Told { link: link(readme, folder)?, folder, run });
    }
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let rewritten = replace(&text, &block(&told))
        .with_context(|| format!("{} has no lines {BEGIN} and {END}", readme.display()))?;
    fs::write(readme, rewritten)?;
    eprintln!("bench: {} now tells of {} results", readme.display(), told.len());
    Ok(())
}

struct Told<'a> {
    link: String,
    folder: &'a Path,
    run: Run,
}

impl Told<'_> {
    fn is_scale(&self) -> bool {
        !self.run.plan.scale_points.is_empty()
    }

    /// Memory over time is of a run, memory by count of a --scale, where there is one.
    fn plots(&self, has_scale: bool) -> impl Iterator<Item = String> {
        let wanted = move |file: &str| match file {
            OVER_TIME => !self.is_scale(),
            BY_COUNT => self.is_scale() || !has_scale,
            _ => true,
        };
        let plots = PLOTS.iter().filter(move |(file, _)| wanted(file) && self.folder.join(file).exists());
        plots.map(|(file, caption)| format!("![{caption}]({}/{file})", self.link))
    }
}

fn block(told: &[Told<'_>]) -> String {
    let has_scale = told.iter().any(Told::is_scale);
    let runs: Vec<Run> = told.iter().map(|told| told.run.clone()).collect();
    let mut parts: Vec<String> = runs.iter().filter_map(sentence).collect();
    // What a --scale knows beside its curve is the size of programs, which a run tells too.
    for Told { run, .. } in told.iter().filter(|told| !told.is_scale()) {
        let comparison = table::comparison(run);
        parts.push(if comparison.is_empty() { table::figures(run) } else { comparison });
    }
    parts.extend(told.iter().flat_map(|told| told.plots(has_scale)));
    parts.push(budgets::table(&runs));
    parts.extend(runs.iter().map(|run| {
        let last = run.plan.scale_points.last().copied();
        table::scale(run, |crs| POINTS.contains(&crs) || Some(crs) == last)
    }));
    let remarks: Vec<Vec<String>> = runs.iter().map(table::remarks_in_short).collect();
    let common = said_by_all(&remarks);
    for (told, remarks) in told.iter().zip(remarks) {
        parts.extend(remarks.into_iter().filter(|remark| !common.contains(remark)));
        parts.push(format!("All its figures and every sample: [{0}]({0}/table.md).", told.link));
    }
    if !common.is_empty() {
        parts.push(format!("In all of these runs: {}", common.join(" ")));
    }
    parts.retain(|part| !part.is_empty());
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
}

/// The remarks that every run has, to be said once. Empty where there is one run only.
fn said_by_all(remarks: &[Vec<String>]) -> Vec<String> {
    match remarks {
        [first, others @ ..] if !others.is_empty() => {
            let by_all = |remark: &&String| others.iter().all(|other| other.contains(remark));
            first.iter().filter(by_all).cloned().collect()
        }
        _ => Vec::new(),
    }
}

/// The headline, where there is somebody to compare with.
fn sentence(run: &Run) -> Option<String> {
    let ours = run.summary(OURS, "settled.rss_bytes")?;
    let operators = run.operators();
    let mut peers: Vec<(&str, f64)> = operators
        .into_iter()
        .filter(|operator| *operator != OURS)
        .filter_map(|operator| Some((operator, run.summary(operator, "settled.rss_bytes")?.median / ours.median)))
        .collect();
    peers.sort_by(|one, other| one.1.total_cmp(&other.1));
    if peers.is_empty() {
        return None;
    }
    let peers: Vec<String> = peers.iter().map(|(peer, times)| format!("{peer} {times:.0} times as much")).collect();
    Some(format!(
        "With {} InferenceServices settled this operator needs {} of memory; in the same run, {}.",
        figures::whole(run.plan.crs as f64),
        figures::format(figures::Unit::Bytes, ours.median),
        peers.join(", ")
    ))
}

/// The way from the README's folder to the results'.
fn link(readme: &Path, results: &Path) -> Result<String> {
    let absolute =
        |path: &Path| -> Result<PathBuf> { fs::canonicalize(path).with_context(|| format!("no {}", path.display())) };
    let (file, results) = (absolute(readme)?, absolute(results)?);
    let home = file.parent().unwrap_or(Path::new("/"));
    let up = home.ancestors().position(|ancestor| results.starts_with(ancestor)).unwrap_or(0);
    let common = home.ancestors().nth(up).unwrap_or(home);
    let down = results.strip_prefix(common).unwrap_or(&results);
    Ok(format!("{}{}", "../".repeat(up), down.display()))
}

/// None: the markers are not there, or not in this order.
fn replace(text: &str, block: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}\n{block}\n{}", &text[..begin], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::ScalePoint;
    use crate::settings::SCALE_POINTS;

    #[test]
    fn of_a_scale_the_readme_has_the_curve_and_of_both_it_says_once_what_both_say() {
        let run = table::tests::run();
        let mut scale = run.clone();
        scale.command = "scripts/bench.sh --scale".into();
        scale.plan.scale_points = SCALE_POINTS.to_vec();
        scale.rounds.truncate(1);
        scale.rounds[0].scale = SCALE_POINTS.iter().map(|&crs| ScalePoint { crs, ..ScalePoint::default() }).collect();
        let told = |run: &Run| Told { link: "link".into(), folder: Path::new("/nowhere"), run: run.clone() };
        let text = block(&[told(&run), told(&scale)]);
        assert_eq!(text.matches("| Binary |").count(), 1, "{text}");
        assert!(text.contains("| this operator | 5,000 |") && !text.contains("| this operator | 1,000 |"), "{text}");
        assert_eq!(text.matches("A note.").count(), 1, "{text}");
        assert!(text.ends_with("In all of these runs: A note."), "{text}");
        assert!(text.contains("over 10% for 1 of the figures: see the table of all figures."), "{text}");
        assert!(block(&[told(&run)]).contains("\n\nA note.\n\n"));
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n");
        let once = replace(&text, "new").expect("replaced");
        assert_eq!(once, format!("# Title\n\n{BEGIN}\nnew\n{END}\n\nafter\n"));
        assert_eq!(replace(&once, "new"), Some(once.clone()));
        assert_eq!(replace("no markers", "new"), None);
        assert_eq!(replace(&format!("{END}{BEGIN}"), "new"), None);
    }
}
