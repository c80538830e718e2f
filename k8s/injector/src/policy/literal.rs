//! Values as CEL writes them.

use serde_json::Value;

use crate::slots::Slot;

/// Fields that are maps, in which keys are data; all others are objects, in which they are fields.
const MAPS: [&str; 2] = ["requests", "limits"];

/// A value of the type `kind`, with slots as variables.
pub(super) fn of(value: &Value, kind: &str) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(string) => Slot::parse(string).map_or_else(|| text(string), variable),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| of(item, kind)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if MAPS.iter().any(|map| kind.ends_with(&format!(".{map}"))) => {
            let entries: Vec<_> =
                fields.iter().map(|(key, value)| format!("{}: {}", text(key), of(value, kind))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value)| format!("{name}: {}", of(value, &format!("{kind}.{name}")));
            let fields: Vec<_> = fields.iter().map(field).collect();
            format!("{kind}{{{}}}", fields.join(", "))
        }
    }
}

/// A string.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

/// A list of strings.
pub(super) fn list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|item| text(item)).collect::<Vec<_>>().join(", "))
}

/// The kubelet replaces `$(NAME)` in the values of variables and reads `$$` as `$`.
fn variable(slot: Slot) -> String {
    let name = variable_name(slot);
    if slot.is_of_the_pod() {
        format!("variables.{name}.replace('$', '$$')")
    } else {
        format!("variables.{name}")
    }
}

/// `app-port` as CEL can write it: `appPort`.
pub(super) fn variable_name(slot: Slot) -> String {
    let mut words = slot.as_str().split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
