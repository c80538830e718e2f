//! `scoretap.dev/move-app`: the app listens on another port, and Envoy takes the app's number.
//!
//! The injector changes the environment variable or the argument from which the app reads its port. Callers keep the
//! number that they use, so nothing outside the pod changes.

use serde_json::{Value, json};

use crate::annotations::MOVED_APP;
use crate::pod::{list, name};
use crate::sidecar::entry;

/// The placeholder for the new port's number in a template.
pub const PLACEHOLDER: &str = "{port}";
/// The sysctl that lets an unprivileged process listen on low ports. Kubernetes lists it as safe.
pub const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
/// Ports below this one need the sysctl.
pub const FIRST_UNPRIVILEGED: u16 = 1024;

/// Where the app reads its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An environment variable.
    Env,
    /// A command-line flag.
    Arg,
}

/// The parsed annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move<'a> {
    /// Where the app reads its port.
    pub way: Way,
    /// The name of the variable or the flag.
    pub name: &'a str,
    /// The value to write. [`PLACEHOLDER`] stands for the number.
    pub template: &'a str,
}

/// The regular expression of values that [`Move::parse`] accepts, for CEL.
pub const PATTERN: &str = "^(env [A-Za-z_][A-Za-z0-9_.-]*|arg --?[A-Za-z0-9][A-Za-z0-9_.-]*)\
                           ( [^\\x00-\\x1f\\x7f]*[{]port[}][^\\x00-\\x1f\\x7f]*)?$";
/// A shell as a word of the command.
pub const SHELL: &str = "^(.*/)?(a|ba|da|k|z)?sh$";
/// The flag before a shell's script.
pub const SCRIPT_FLAG: &str = "^-[A-Za-z]*c$";

impl<'a> Move<'a> {
    /// Reads `env NAME` or `arg --FLAG`, optionally followed by a template.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (way, rest) = text.split_once(' ')?;
        let (name, template) = rest.split_once(' ').unwrap_or((rest, PLACEHOLDER));
        let way = match way {
            "env" if is_variable(name) => Way::Env,
            "arg" if is_flag(name) => Way::Arg,
            _ => return None,
        };
        let is_plain = !template.chars().any(|char| char.is_ascii_control());
        (is_plain && template.contains(PLACEHOLDER)).then_some(Self { way, name, template })
    }

    /// The value that the app gets.
    pub fn value(&self) -> String {
        self.template.replace(PLACEHOLDER, &MOVED_APP.to_string())
    }

    /// Whether the variable uses `valueFrom`, so that its value cannot be replaced.
    pub fn has_value_from(&self, app: &Value) -> bool {
        let mut held = list(app.get("env")).filter(|entry| name(entry) == Some(self.name));
        self.way == Way::Env && held.any(|entry| entry.get("valueFrom").is_some())
    }

    /// Whether the container uses the image's own command line, which an argument would replace.
    pub fn has_no_command_line(&self, app: &Value) -> bool {
        self.way == Way::Arg && words(app).is_empty()
    }

    /// Whether the command line is a shell script. The flag would have to be edited inside the script.
    pub fn is_shell_script(&self, app: &Value) -> bool {
        let words = words(app);
        let named = words.iter().any(|word| is_shell(word)) && words.iter().any(|word| is_script_flag(word));
        let of_image = list(app.get("command")).next().is_none()
            && matches!(words.as_slice(), [flag, script, ..] if is_script_flag(flag) && script.contains(' '));
        self.way == Way::Arg && (named || of_image)
    }

    /// Whether no value follows the flag.
    pub fn has_no_value(&self, app: &Value) -> bool {
        let words = words(app);
        let flags = words.iter().enumerate().filter(|(_, word)| **word == self.name);
        let values = flags.map(|(index, _)| words.get(index + 1));
        self.way == Way::Arg && { values }.any(|value| value.is_none_or(|value| value.starts_with('-')))
    }

    /// Whether the value to replace is more than a number and there is no template for the new value.
    pub fn needs_template(&self, app: &Value) -> bool {
        let is_number = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
        self.template == PLACEHOLDER && self.replaced(app).iter().any(|value| !is_number(value))
    }

    /// The values that [`Self::apply`] replaces.
    fn replaced<'v>(&self, app: &'v Value) -> Vec<&'v str> {
        match self.way {
            Way::Env => {
                let held = list(app.get("env")).filter(|entry| name(entry) == Some(self.name));
                held.filter_map(|entry| entry.get("value")?.as_str()).collect()
            }
            Way::Arg => {
                let words = words(app);
                let joined = words.iter().filter_map(|word| word.strip_prefix(self.name)?.strip_prefix('='));
                let pairs = words.iter().zip(words.iter().skip(1));
                let apart = pairs.filter(|(flag, _)| **flag == self.name).map(|(_, value)| *value);
                joined.chain(apart).collect()
            }
        }
    }

    /// Gives the app's container the new port. `None` if a field of it has an unexpected type.
    pub fn apply(&self, app: &mut Value) -> Option<()> {
        match self.way {
            Way::Env => self.set_variable(app),
            Way::Arg => self.set_argument(app),
        }
    }

    fn set_variable(&self, app: &mut Value) -> Option<()> {
        let value = self.value();
        let variables = entry(app, "env", json!([]))?.as_array_mut()?;
        let mut found = false;
        for variable in variables.iter_mut().filter(|variable| name(variable) == Some(self.name)) {
            variable["value"] = value.clone().into();
            found = true;
        }
        if !found {
            let variable = json!({"name": self.name, "value": value});
            // Insert it first, because later variables may expand it. If it expands others itself, append it.
            let index = if self.template.contains("$(") { variables.len() } else { 0 };
            variables.insert(index, variable);
        }
        Some(())
    }

    fn set_argument(&self, app: &mut Value) -> Option<()> {
        let value = self.value();
        let command = list(app.get("command")).count();
        let words = words(app).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut found = false;
        for (index, word) in words.iter().enumerate() {
            let is_joined = word.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('='));
            let is_value = index.checked_sub(1).and_then(|before| words.get(before)).map(String::as_str)
                == Some(self.name);
            let written = match (is_joined, is_value) {
                (true, _) => format!("{}={value}", self.name),
                (false, true) => value.clone(),
                (false, false) => continue,
            };
            let (field, index) =
                index.checked_sub(command).map_or(("command", index), |index| ("args", index));
            *app.get_mut(field)?.get_mut(index)? = written.into();
            found = true;
        }
        if !found {
            let arguments = entry(app, "args", json!([]))?.as_array_mut()?;
            arguments.extend(self.new_arguments().into_iter().map(Value::from));
        }
        Some(())
    }

    /// `--flag=VALUE`, and `-f VALUE`, because short flags take no equals sign.
    fn new_arguments(&self) -> Vec<String> {
        if self.is_short() {
            vec![self.name.to_owned(), self.value()]
        } else {
            vec![format!("{}={}", self.name, self.value())]
        }
    }

    fn is_short(&self) -> bool {
        self.name.len() == 2
    }
}

/// Allows Envoy to listen on a low port without root. `None` if a field of the pod has an unexpected type.
pub fn open_low_ports(pod: &mut Value, port: u16) -> Option<()> {
    if port >= FIRST_UNPRIVILEGED {
        return Some(());
    }
    let context = entry(pod.get_mut("spec")?, "securityContext", json!({}))?;
    let sysctls = entry(context, "sysctls", json!([]))?.as_array_mut()?;
    let mut set = sysctls.iter_mut().filter(|sysctl| name(sysctl) == Some(SYSCTL)).peekable();
    if set.peek().is_none() {
        sysctls.push(json!({"name": SYSCTL, "value": "0"}));
        return Some(());
    }
    for sysctl in set {
        let value = sysctl.get("value").and_then(Value::as_str).unwrap_or_default();
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let first = value.parse::<u16>().ok().filter(|_| is_number);
        if first.is_none_or(|first| first > port) {
            sysctl["value"] = "0".into();
        }
    }
    Some(())
}

/// The command line: `command`, then `args`.
fn words(app: &Value) -> Vec<&str> {
    let both = list(app.get("command")).chain(list(app.get("args")));
    both.map(|word| word.as_str().unwrap_or_default()).collect()
}

fn is_variable(name: &str) -> bool {
    let starts = |char: char| char.is_ascii_alphabetic() || char == '_';
    name.starts_with(starts) && name.bytes().all(is_name_byte)
}

fn is_flag(flag: &str) -> bool {
    let name = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-')).unwrap_or_default();
    name.starts_with(|char: char| char.is_ascii_alphanumeric()) && name.bytes().all(is_name_byte)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn is_shell(word: &str) -> bool {
    let program = word.rsplit('/').next().unwrap_or_default();
    !word.contains('\n') && ["sh", "ash", "bash", "dash", "ksh", "zsh"].contains(&program)
}

fn is_script_flag(word: &str) -> bool {
    let letters = word.strip_prefix('-').and_then(|rest| rest.strip_suffix('c'));
    letters.is_some_and(|letters| letters.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(annotation: &str, before: Value, after: &Value) {
        let mut app = before;
        Move::parse(annotation).unwrap().apply(&mut app).unwrap();
        assert_eq!(&app, after, "{annotation}");
    }

    #[test]
    fn argument_is_replaced_where_it_stands() {
        check("arg --f", json!({"args": ["--f=8080"]}), &json!({"args": ["--f=15110"]}));
        check("arg --f", json!({"args": ["--f", "8080", "x"]}), &json!({"args": ["--f", "15110", "x"]}));
        check(
            "arg --f",
            json!({"command": ["serve", "--f"], "args": ["8080", "--ff=1"]}),
            &json!({"command": ["serve", "--f"], "args": ["15110", "--ff=1"]}),
        );
        check("arg -p", json!({"command": ["x", "-p", "1"]}), &json!({"command": ["x", "-p", "15110"]}));
        check(
            "arg --bind 0.0.0.0:{port}",
            json!({"args": ["--bind=[::]:80", "--bind", ":80"]}),
            &json!({"args": ["--bind=0.0.0.0:15110", "--bind", "0.0.0.0:15110"]}),
        );
    }

    #[test]
    fn missing_argument_is_appended() {
        check("arg --f", json!({"args": ["x"]}), &json!({"args": ["x", "--f=15110"]}));
        check("arg -p", json!({"command": ["x"]}), &json!({"command": ["x"], "args": ["-p", "15110"]}));
    }

    #[test]
    fn variable_is_set_before_what_expands_it() {
        let other = json!({"name": "URL", "value": "http://localhost:$(PORT)"});
        let port = |value: &str| json!({"name": "PORT", "value": value});
        check("env PORT", json!({"env": [other, port("1")]}), &json!({"env": [other, port("15110")]}));
        check("env PORT", json!({"env": [{"name": "PORT"}]}), &json!({"env": [port("15110")]}));
        check("env PORT", json!({"env": [other]}), &json!({"env": [port("15110"), other]}));
        check("env PORT", json!({}), &json!({"env": [port("15110")]}));
        let address = port("$(POD_IP):15110");
        check("env PORT $(POD_IP):{port}", json!({"env": [other]}), &json!({"env": [other, address]}));
    }

    #[test]
    fn parse_accepts_two_ways_and_templates() {
        let parsed = Move::parse("arg --bind 0.0.0.0:{port} x").unwrap();
        assert_eq!((parsed.way, parsed.name, parsed.template), (Way::Arg, "--bind", "0.0.0.0:{port} x"));
        for text in [
            "",
            "env",
            "env ",
            "PORT",
            "env 1A",
            "env A=B",
            "arg port",
            "arg --",
            "arg ---p",
            "arg --bind 0.0.0.0",
            "env A  ",
            "env A \n{port}",
            "file x",
            " env A",
            "arg --f ",
        ] {
            assert_eq!(Move::parse(text), None, "{text:?}");
        }
    }

    #[track_caller]
    fn check_shell(app: &Value, expected: bool) {
        assert_eq!(Move::parse("arg --f").unwrap().is_shell_script(app), expected, "{app}");
    }

    #[test]
    fn shell_script_is_recognised_by_shell_and_flag() {
        check_shell(&json!({"command": ["sh", "-c"], "args": ["serve --f 1"]}), true);
        check_shell(&json!({"command": ["/bin/bash", "-euc", "serve"]}), true);
        check_shell(&json!({"command": ["tini", "--", "/usr/bin/env", "bash", "-c", "x"]}), true);
        check_shell(&json!({"args": ["-c", "exec serve --f 1"]}), true);
        check_shell(&json!({"args": ["-c", "gunicorn.conf.py"]}), false);
        check_shell(&json!({"command": ["gunicorn", "-c", "a b.py"]}), false);
        check_shell(&json!({"command": ["bash", "start.sh"]}), false);
    }

    #[test]
    fn low_port_sets_the_sysctl_once() {
        let sysctl = |value: &str| json!([{"name": SYSCTL, "value": value}]);
        for (before, port, after) in [
            (json!({}), 80, json!({"securityContext": {"sysctls": sysctl("0")}})),
            (json!({}), 1024, json!({})),
            (
                json!({"securityContext": {"sysctls": sysctl("80")}}),
                80,
                json!({"securityContext": {"sysctls": sysctl("80")}}),
            ),
            (
                json!({"securityContext": {"sysctls": sysctl("81")}}),
                80,
                json!({"securityContext": {"sysctls": sysctl("0")}}),
            ),
        ] {
            let mut pod = json!({"spec": before});
            open_low_ports(&mut pod, port).unwrap();
            assert_eq!(pod["spec"], after, "{port}");
        }
    }
}
