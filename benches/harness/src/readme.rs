//! The README's bench block, made from a folder of results, so that no claim is typed by hand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::figures;
use crate::report::PLOTS;
use crate::results::{Folder, Run};
use crate::settings::OURS;
use crate::table;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Replaces what is between the markers of `readme`.
pub fn rewrite(readme: &Path, results: &Path) -> Result<()> {
    let run = Folder(results.to_owned()).result()?;
    if !run.is_complete() {
        bail!("{} is of a run that is not finished", results.display());
    }
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let link = link(readme, results)?;
    let plots: Vec<(String, &str)> = PLOTS
        .iter()
        .filter(|(file, _)| results.join(file).exists())
        .map(|(file, caption)| (format!("{link}/{file}"), *caption))
        .collect();
    let rewritten = replace(&text, &block(&run, &link, &plots))
        .with_context(|| format!("{} has no lines {BEGIN} and {END}", readme.display()))?;
    fs::write(readme, rewritten)?;
    eprintln!("bench: {} now tells of {}", readme.display(), results.display());
    Ok(())
}

fn block(run: &Run, link: &str, plots: &[(String, &str)]) -> String {
    let mut parts = Vec::new();
    parts.extend(sentence(run));
    let comparison = table::comparison(run);
    parts.push(if comparison.is_empty() { table::figures(run) } else { comparison });
    parts.push(table::scale(run));
    parts.push(table::remarks(run).join("\n\n"));
    parts.extend(plots.iter().map(|(file, caption)| format!("![{caption}]({file})")));
    parts.push(format!("All figures and every sample: [{link}]({link}/table.md)."));
    parts.retain(|part| !part.is_empty());
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
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
