//! `completions`, `man`: what is made from the command line itself.

use clap::CommandFactory;

use super::arguments::{Arguments, Completions, Man};
use super::exit::{Exit, Failure};
use super::output;
use crate::disk;

/// Prints a shell's completions.
pub(super) fn completions(completions: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "kvorum", &mut script);
    output::bytes(&script)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(man: &Man) -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    command.build();
    let Some(dir) = &man.dir else { return output::bytes(&page(&command, true)?) };
    let failed = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", dir.display()));
    let mut written = 0;
    write_pages(&command, "kvorum", &mut |name, page| {
        written += 1;
        disk::publish(dir, &format!("{name}.1"), page).map_err(failed)
    })?;
    output::line(&format!("{written} pages in {}", dir.display()))
}

type Write<'a> = dyn FnMut(&str, &[u8]) -> Result<(), Failure> + 'a;

fn write_pages(command: &clap::Command, name: &str, write: &mut Write<'_>) -> Result<(), Failure> {
    write(name, &page(command, name == "kvorum")?)?;
    let below = command.get_subcommands().filter(|command| command.get_name() != "help");
    for command in below {
        write_pages(command, &format!("{name}-{}", command.get_name()), write)?;
    }
    Ok(())
}

fn page(command: &clap::Command, with_statuses: bool) -> Result<Vec<u8>, Failure> {
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    if with_statuses {
        page.extend(b".SH \"EXIT STATUS\"\n");
        for (status, meaning) in statuses() {
            page.extend(format!(".TP\n\\fB{status}\\fR\n{meaning}\n").into_bytes());
        }
    }
    Ok(page)
}

/// The table at the head of this floor.
fn statuses() -> impl Iterator<Item = (&'static str, String)> {
    let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    rows.filter_map(|row| row.strip_suffix(" |")?.split_once(" | "))
        .filter(|(status, _)| status.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|(status, meaning)| (status, meaning.replace('`', "")))
}
