//! `cargo xtask fuzz`: libFuzzer on the stable compiler, target by target, and the corpus that is kept of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{During, Error};
use crate::report::{Section, fact, line};
use crate::{Result, cargo, packages};

/// The kept corpus of one target: so many files, each of so many bytes at most.
const MOST_FILES: usize = 300;
const LONGEST_FILE: u64 = 4096;
/// What each target gets in `cargo xtask test`.
const BRIEFLY: Duration = Duration::from_secs(2);
/// An input on which a target works longer is a defect; generous, for machines that do other work too.
const TIME_FOR_ONE_INPUT: &str = "-timeout=120";
const MEMORY_MEBIBYTES: &str = "-rss_limit_mb=1024";

/// Fuzzes for `minutes` in all, and keeps the inputs that reach something new.
pub(crate) fn run(minutes: u64, only: Option<&str>, no_install: bool) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::FUZZ], no_install)?;
    let fuzzer = Fuzzer::build()?;
    let mut targets = fuzzer.targets()?;
    if let Some(only) = only {
        targets.retain(|target| target == only);
        if targets.is_empty() {
            return Err(Error::Wrong(format!("there is no target {only}; see fuzz/corpus")));
        }
    }
    let share = Duration::from_secs(minutes * 60) / u32::try_from(targets.len()).unwrap_or(u32::MAX);
    let mut failed = Vec::new();
    for target in &targets {
        let section = Section::begin("•", target);
        let found = fuzzer.fuzz(target, share);
        // What was reached before a defect is worth keeping too.
        fuzzer.keep(target)?;
        match found {
            Ok(()) => section.end("nothing found"),
            Err(error) => {
                fact(&error.to_string());
                section.end("FOUND A DEFECT");
                failed.push(target.as_str());
            }
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(Error::Wrong(format!("defects found by: {}", failed.join(", ")))),
    }
}

/// Fuzzes every target for a few seconds, on a copy of the corpus; part of `cargo xtask test`, which has replayed the
/// corpus itself before.
pub(crate) fn briefly() -> Result<()> {
    let fuzzer = Fuzzer::build()?;
    for target in fuzzer.targets()? {
        fuzzer.fuzz(&target, BRIEFLY)?;
    }
    Ok(())
}

struct Fuzzer {
    program: PathBuf,
    /// The committed corpus, a folder per target.
    corpus: PathBuf,
    /// New inputs, logs and crashes, a folder per target.
    work: PathBuf,
}

impl Fuzzer {
    /// Builds the members with coverage counters. They lie beside the ordinary ones in the target folder, for cargo
    /// tells them apart by the wrapper; the dependencies are those that the programs have, and are built once.
    fn build() -> Result<Self> {
        line("Building the fuzz targets…");
        let folder = cargo::root().join("fuzz");
        let features = ["--features", "cns-fuzz/libfuzzer"];
        let arguments = ["build", "--release", "--workspace", "--exclude", "xtask", "--bin", "cns-fuzz"];
        let mut build = cargo::command(&[&arguments[..], &features[..]].concat());
        build.env("RUSTC_WORKSPACE_WRAPPER", folder.join("instrument.sh"));
        finish(&mut build, String::new)?;
        let target = cargo::target_directory()?;
        Ok(Self {
            program: target.join("release").join("cns-fuzz"),
            corpus: folder.join("corpus"),
            work: target.join("fuzz"),
        })
    }

    /// The targets' names: every one has a corpus, which a test of `cns-fuzz` compares with its table.
    fn targets(&self) -> Result<Vec<String>> {
        let names = list(&self.corpus)?;
        Ok(names.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn fuzz(&self, target: &str, time: Duration) -> Result<()> {
        let (work, new, log) = (self.work.join(target), self.new_inputs(target), self.log(target));
        fs::create_dir_all(&new).during(format!("creating {}", new.display()))?;
        let mut command = self.command(target, &log)?;
        command
            .arg(format!("-max_total_time={}", time.as_secs().max(1)))
            .args([TIME_FOR_ONE_INPUT, MEMORY_MEBIBYTES])
            .arg(format!("-max_len={LONGEST_FILE}"))
            .arg(format!("-artifact_prefix={}/", work.display()))
            .arg(&new)
            .arg(self.corpus.join(target));
        finish(&mut command, || {
            format!(
                "{}\nThe input is in {}. To run it again:\nCNS_FUZZ_TARGET={target} {} FILE\n\
                 Once it is repaired, copy it to fuzz/corpus/{target}, where `cargo test` replays it.",
                defect(&log),
                work.display(),
                self.program.display()
            )
        })?;
        fact(&format!("{target}: {}", last_line(&log)));
        Ok(())
    }

    /// Replaces the corpus by the fewest inputs, old and new, that reach all that was reached.
    fn keep(&self, target: &str) -> Result<()> {
        let corpus = self.corpus.join(target);
        let merged = self.work.join(target).join("merged");
        if merged.exists() {
            fs::remove_dir_all(&merged).during("emptying the merged corpus")?;
        }
        fs::create_dir_all(&merged).during("creating the merged corpus")?;
        let log = self.log(target);
        let mut command = self.command(target, &log)?;
        command.args(["-set_cover_merge=1", TIME_FOR_ONE_INPUT, MEMORY_MEBIBYTES]).arg(&merged).arg(&corpus);
        finish(command.arg(self.new_inputs(target)), || defect(&log))?;
        let mut files = Vec::new();
        for path in list(&merged)? {
            let size = fs::metadata(&path).during(format!("looking at {}", path.display()))?.len();
            files.push((size, path));
        }
        files.sort();
        let all = files.len();
        files.retain(|(size, _)| *size <= LONGEST_FILE);
        let (old, named): (Vec<_>, Vec<_>) = list(&corpus)?.into_iter().partition(|path| is_of_fuzzer(path));
        files.truncate(MOST_FILES.saturating_sub(named.len()));
        for old in old {
            fs::remove_file(&old).during(format!("removing {}", old.display()))?;
        }
        for (_, path) in &files {
            let name = path.file_name().unwrap_or(OsStr::new("input"));
            fs::copy(path, corpus.join(name)).during(format!("keeping {}", path.display()))?;
        }
        fact(&format!("kept {} inputs of {all}", files.len()));
        Ok(())
    }

    fn command(&self, target: &str, log: &Path) -> Result<Command> {
        let file = File::create(log).during(format!("creating {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command.env("CNS_FUZZ_TARGET", target).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(command)
    }

    fn new_inputs(&self, target: &str) -> PathBuf {
        self.work.join(target).join("new")
    }

    fn log(&self, target: &str) -> PathBuf {
        self.work.join(target).join("log")
    }
}

/// Runs a command to its end; `explain` says more when it fails.
fn finish(command: &mut Command, explain: impl FnOnce() -> String) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().during(format!("starting {program}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program, status: status.to_string(), output: explain() })
}

/// The files of a folder, by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).during(format!("reading {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.during(format!("reading {}", folder.display()))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Whether libFuzzer gave a file its name, a SHA-1. What a person named is a defect of old, and stays.
fn is_of_fuzzer(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a log says of a defect.
fn defect(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let telling = |line: &&str| {
        ["panicked at", "held ", "assertion", "left:", "right:", "SUMMARY", "Test unit"]
            .iter()
            .any(|word| line.contains(word))
    };
    text.lines().filter(telling).take(10).collect::<Vec<_>>().join("\n")
}

fn last_line(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default().lines().last().unwrap_or_default().to_owned()
}
