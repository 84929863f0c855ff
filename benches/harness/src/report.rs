//! Table and plots of a folder's result, written beside it.

use std::fs;

use anyhow::Result;

use crate::budgets;
use crate::plot;
use crate::results::{Folder, Run};
use crate::table;
use crate::verdict;

pub const OVER_TIME: &str = "memory-over-time.svg";
pub const BY_COUNT: &str = "memory-by-count.svg";

/// File names of the plots, and what they show.
pub const PLOTS: [(&str, &str); 3] = [
    (OVER_TIME, "Memory over time"),
    (BY_COUNT, "Memory against the number of InferenceServices"),
    ("latency.svg", "Time from an accepted change of a spec to the Deployment's new generation"),
];

/// table.md and the plots, from result.json; of a soak, its verdict is said too.
pub fn write(folder: &Folder) -> Result<()> {
    let run = folder.result()?;
    for ((file, _), drawn) in PLOTS.iter().zip(plot::all(&run)?) {
        let path = folder.0.join(file);
        match drawn {
            Some(svg) => fs::write(path, svg)?,
            None => drop(fs::remove_file(path)),
        }
    }
    fs::write(folder.0.join("table.md"), markdown(&run, &folder.0))?;
    if let Some(line) = verdict::line(&run) {
        eprintln!("bench: {line}");
    }
    Ok(())
}

fn markdown(run: &Run, folder: &std::path::Path) -> String {
    let mut parts = vec![format!("# {} InferenceServices", crate::figures::whole(run.plan.crs as f64))];
    if !run.plan.scale_points.is_empty() {
        parts[0] = "# Memory against the number of InferenceServices".into();
    }
    let has_figures = run.rounds.iter().any(|round| !round.figures.is_empty());
    if has_figures {
        parts.extend([table::comparison(run), budgets::table(std::slice::from_ref(run)), table::figures(run)]);
        parts.push(table::requests(run));
    } else {
        parts.push(budgets::table(std::slice::from_ref(run)));
    }
    parts.push(table::scale(run, |_| true));
    parts.push(table::remarks(run).join("\n\n"));
    let plots = PLOTS.iter().filter(|(file, _)| folder.join(file).exists());
    parts.extend(plots.map(|(file, caption)| format!("![{caption}]({file})")));
    parts.retain(|part| !part.is_empty());
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n") + "\n"
}
