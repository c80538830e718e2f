//! JSON values as CEL literals.

use serde_json::{Map, Value};

use super::values::Values;
use crate::quantity::NONE;
use crate::slots::{self, Reference, Slot};

/// Fields that are maps. Their keys are data; the keys of all other objects are field names.
const MAPS: [&str; 2] = ["requests", "limits"];

/// A value of the type `kind`, with slots as variables.
pub(super) fn of(value: &Value, kind: &str, values: Values<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(string) => Reference::parse(string).map_or_else(|| text(string), variable),
        Value::Array(items) => {
            let items = items.iter().map(|item| conditional(item, |item| list_item(item, kind, values)));
            lists(items, ", ")
        }
        Value::Object(fields) if MAPS.iter().any(|map| kind.ends_with(&format!(".{map}"))) => map(fields),
        Value::Object(fields) => object(fields, kind, values),
    }
}

/// The condition of a list's item, and the item in CEL.
pub(super) fn conditional(item: &Value, written: impl Fn(&Value) -> String) -> (Option<Slot>, String) {
    let mut item = item.clone();
    let condition = slots::condition(&mut item);
    (condition, written(&item))
}

/// A list, and for each item with a condition another one behind it.
pub(super) fn lists(items: impl Iterator<Item = (Option<Slot>, String)>, separator: &str) -> String {
    let (conditional, items): (Vec<_>, Vec<_>) = items.partition(|(condition, _)| condition.is_some());
    let items: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
    let optional = conditional.into_iter().filter_map(|(condition, item)| {
        Some(format!(" + (variables.{} == '' ? [] : [{item}])", variable_name(condition?)))
    });
    format!("[{}]{}", items.join(separator), optional.collect::<String>())
}

/// An item of a list. All items have one type, and annotations have none.
fn list_item(item: &Value, kind: &str, values: Values<'_>) -> String {
    let slot = item.as_str().and_then(Reference::parse);
    slot.map_or_else(|| of(item, kind, values), |slot| format!("string({})", variable(slot)))
}

/// Quantities, except those that are `none`.
fn map(fields: &Map<String, Value>) -> String {
    let entry = |(key, value): (&String, &Value)| {
        let slot = value.as_str().and_then(Reference::parse);
        let quantity = slot.map_or_else(|| value.to_string(), variable);
        format!("?{}: {quantity} == '{NONE}' ? optional.none() : optional.of({quantity})", text(key))
    };
    format!("{{{}}}", fields.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// Optional fields come first, so that their separator disappears with them.
fn object(fields: &Map<String, Value>, kind: &str, values: Values<'_>) -> String {
    let (mut optional, mut required) = (String::new(), Vec::new());
    for (name, value) in fields {
        let reference = value.as_str().and_then(Reference::parse);
        match reference.filter(|reference| matches!(reference.slot, Slot::ImagePullPolicy | Slot::RunAsUser))
        {
            Some(reference) => {
                // The space prevents `{{{`, which Helm would parse.
                optional =
                    [&optional, " ", &values.field(name, reference.slot, reference.is_number)].concat();
            }
            None => required.push(format!("{name}: {}", of(value, &format!("{kind}.{name}"), values))),
        }
    }
    format!("{kind}{{{optional}{}}}", required.join(", "))
}

/// A string.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

/// A list of strings.
pub(super) fn list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|item| text(item)).collect::<Vec<_>>().join(", "))
}

fn variable(reference: Reference) -> String {
    let name = format!("variables.{}", variable_name(reference.slot));
    if reference.is_number {
        return format!("int({name})");
    }
    // The kubelet replaces `$(NAME)` in variables and reads `$$` as `$`.
    if reference.slot.is_tenant_text() { format!("{name}.replace('$', '$$')") } else { name }
}

/// `app-port` as an identifier of CEL: `appPort`.
pub(super) fn variable_name(slot: Slot) -> String {
    let name = slot.name();
    let mut words = name.split('-');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
