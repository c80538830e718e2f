//! Runs kubectl and helm. All access to the cluster goes through them, with the caller's rights and settings.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::text::{clean, word};

/// Which cluster is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Cluster {
    /// Context of the kubeconfig to use [default: its current context]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// An error from the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The cluster has no such kind.
    UnknownKind,
    /// There is no such object.
    NotFound(String),
    /// The caller lacks the right.
    Forbidden(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind => formatter.write_str("the cluster does not know this kind"),
            Self::NotFound(text) | Self::Forbidden(text) | Self::Failed(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Reads kubectl's standard error.
    fn parse(stderr: &str) -> Self {
        let line =
            stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("kubectl failed without a word");
        let text = clean(line.trim());
        if stderr.contains("the server doesn't have a resource type")
            || stderr.contains("no matches for kind")
        {
            Self::UnknownKind
        } else if stderr.contains("(NotFound)") || stderr.contains("could not find the requested resource") {
            Self::NotFound(text)
        } else if stderr.contains("(Forbidden)") || stderr.contains("is forbidden") {
            Self::Forbidden(text)
        } else {
            Self::Failed(text)
        }
    }
}

/// The time limit for one request to the API server.
const PATIENCE: &str = "--request-timeout=20s";

impl Cluster {
    /// A kubectl for this cluster.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new("kubectl");
        command.args(self.context.as_deref().map(|context| format!("--context={context}")));
        command
    }

    /// A helm for this cluster.
    pub(crate) fn helm(&self) -> Command {
        let mut command = Command::new("helm");
        command.args(self.context.as_deref().map(|context| format!("--kube-context={context}")));
        command
    }

    /// Adds the context to a printed command. Without it, the command would reach the current context's cluster.
    pub(crate) fn in_context(&self, command: &str) -> String {
        self.context.as_deref().map_or_else(|| command.to_owned(), |context| with_context(command, context))
    }

    /// Runs `kubectl ARGS` and returns its standard output.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<String, Refused> {
        let mut command = self.kubectl();
        command.arg(PATIENCE).args(args).stdin(Stdio::null());
        let output = start(&mut command).map_err(|error| Refused::Failed(format!("{error:#}")))?;
        text_of(&output)
    }

    /// The same, with standard input.
    pub(crate) fn ask_with(&self, args: &[&str], input: &str) -> Result<String, Refused> {
        let mut command = self.kubectl();
        command.arg(PATIENCE).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| Refused::Failed(format!("cannot run kubectl: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(failed)?;
        }
        text_of(&child.wait_with_output().map_err(failed)?)
    }

    /// The items of `kubectl get ARGS -o json`, or the one object.
    pub(crate) fn get(&self, args: &[&str]) -> Result<Vec<Value>, Refused> {
        let text = self.ask(&[&["get", "-o", "json"], args].concat())?;
        let mut answer = parse(&text)?;
        match answer.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(vec![answer]),
        }
    }

    /// The API server's response at a path, as text.
    pub(crate) fn raw(&self, path: &str) -> Result<String, Refused> {
        self.ask(&["get", "--raw", path])
    }

    /// Fails if no cluster can be reached; the error says what to do.
    pub(crate) fn reach(&self) -> Result<()> {
        let mut command = self.kubectl();
        let output = start(command.arg(PATIENCE).args(["get", "--raw", "/version"]).stdin(Stdio::null()))?;
        if let Err(refused) = text_of(&output) {
            bail!(
                "no cluster can be reached: {refused}; `kubectl config get-contexts` lists those that are configured, \
                 `scoretap --context NAME …` uses another"
            );
        }
        Ok(())
    }

    /// The namespace of the context.
    pub(crate) fn namespace(&self) -> String {
        let found = self.ask(&["config", "view", "--minify", "-o", "jsonpath={..namespace}"]);
        found.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
    }
}

/// Adds a context to each program of a shell command. Does not change words of arguments, quoted or not.
fn with_context(command: &str, context: &str) -> String {
    let context = word(context);
    let mut changed = String::with_capacity(command.len());
    let (mut rest, mut starts) = (command, true);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 2),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '|' | '&' | ';' | ' ' => 1,
            _ => rest.find(['\'', '\\', '|', '&', ';', ' ']).unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        changed.push_str(part);
        match part {
            "kubectl" | "scoretap" if starts => changed.push_str(&format!(" --context={context}")),
            "helm" if starts => changed.push_str(&format!(" --kube-context={context}")),
            _ => {}
        }
        starts = matches!(part, "|" | "&" | ";") || starts && part == " ";
        rest = after;
    }
    changed
}

fn parse(text: &str) -> Result<Value, Refused> {
    serde_json::from_str(text).map_err(|error| Refused::Failed(format!("the answer is no JSON: {error}")))
}

fn text_of(output: &Output) -> Result<String, Refused> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Refused::parse(&String::from_utf8_lossy(&output.stderr)))
}

/// Runs a program to its end and collects its output.
pub(crate) fn start(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| missing(&program, &error))
}

/// Runs a program that talks to the user itself.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| missing(&program, &error))?;
    if !status.success() {
        bail!("{program} failed ({status}); its own message is above");
    }
    Ok(())
}

fn missing(program: &str, error: &std::io::Error) -> anyhow::Error {
    let page = if program == "helm" {
        "https://helm.sh/docs/intro/install/"
    } else {
        "https://kubernetes.io/docs/tasks/tools/"
    };
    if error.kind() == ErrorKind::NotFound {
        return anyhow!("{program} is not on PATH; install it: {page}");
    }
    anyhow!("cannot run {program}: {error}")
}

/// Parses JSON that came through the API server's proxy.
pub(crate) fn json(text: &str, of: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("{of} did not answer with JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let check = |text: &str, expected: Refused| assert_eq!(Refused::parse(text), expected);
        check("error: the server doesn't have a resource type \"podmonitors\"\n", Refused::UnknownKind);
        let text =
            "Error from server (Forbidden): pods is forbidden: User \"a\" cannot list resource \"pods\"";
        check(text, Refused::Forbidden(text.to_owned()));
        let text = "Error from server (NotFound): deployments.apps \"scorer\" not found";
        check(text, Refused::NotFound(text.to_owned()));
        let text = "E1128 memcache.go\nThe connection to the server 127.0.0.1:1 was refused\n\n";
        check(text, Refused::Failed("The connection to the server 127.0.0.1:1 was refused".to_owned()));
    }

    #[test]
    fn printed_commands_carry_the_context() {
        #[track_caller]
        fn check(command: &str, expected: &str) {
            let cluster = Cluster { context: Some("prod eu".to_owned()) };
            assert_eq!(cluster.in_context(command), expected);
            assert_eq!(Cluster::default().in_context(command), command);
        }
        check("scoretap install --set a=b", "scoretap --context='prod eu' install --set a=b");
        check("helm list -A", "helm --kube-context='prod eu' list -A");
        check(
            "kubectl get pod kubectl -o yaml | kubectl annotate --local -f - a='x | kubectl' | kubectl replace -f -",
            "kubectl --context='prod eu' get pod kubectl -o yaml | kubectl --context='prod eu' annotate --local -f - \
             a='x | kubectl' | kubectl --context='prod eu' replace -f -",
        );
        check(
            r"kubectl edit pod 'it'\''s' -n kubectl",
            r"kubectl --context='prod eu' edit pod 'it'\''s' -n kubectl",
        );
    }
}
