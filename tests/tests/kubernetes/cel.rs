//! Evaluates an admission policy as an API server does: conditions, then variables as they are needed, then mutations.
//!
//! Kubernetes' types (`Object.spec.containers{…}`, `JSONPatch{…}`) become maps, and its additions to CEL that the
//! policies use are added here. Everything else is the text that is shipped.

use std::collections::HashMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Key;
use cel::{Context, Program, Value};
use serde_json::Value as Json;

/// Whether all conditions of a policy hold for an object.
pub(crate) fn matches(policy: &Json, object: &Json) -> bool {
    let context = context(object, &Json::Null);
    expressions(&policy["spec"]["matchConditions"])
        .all(|cel| evaluate(&context, cel) == Ok(Value::Bool(true)))
}

/// The JSON patch of a mutating policy.
pub(crate) fn patch(policy: &Json, object: &Json) -> Json {
    let context = context(object, &policy["spec"]["variables"]);
    let mutation = &policy["spec"]["mutations"][0];
    assert_eq!(mutation["patchType"], "JSONPatch");
    let cel = mutation["jsonPatch"]["expression"].as_str().unwrap();
    let patch = evaluate(&context, cel).unwrap_or_else(|error| panic!("{error}: {cel}"));
    no_list_of_objects(&patch);
    patch.json().unwrap()
}

/// The warnings of a validating policy.
pub(crate) fn warnings(policy: &Json, object: &Json) -> Vec<String> {
    let context = context(object, &policy["spec"]["variables"]);
    let validations = policy["spec"]["validations"].as_array().unwrap().iter();
    let failed = validations.filter(|validation| {
        let cel = validation["expression"].as_str().unwrap();
        evaluate(&context, cel).unwrap_or_else(|error| panic!("{error}: {cel}")) == Value::Bool(false)
    });
    let message =
        |validation: &Json| match evaluate(&context, validation["messageExpression"].as_str().unwrap()) {
            Ok(Value::String(message)) => message.to_string(),
            other => panic!("no message: {other:?}"),
        };
    failed.map(message).collect()
}

/// Such a patch makes API servers of 1.34 to 1.36 panic.
fn no_list_of_objects(patch: &Value) {
    let Value::List(patches) = patch else { panic!("no list: {patch:?}") };
    for patch in patches.iter() {
        let Value::Map(patch) = patch else { panic!("no patch: {patch:?}") };
        if let Some(Value::List(list)) = patch.get(&Key::from("value")) {
            assert!(list.is_empty(), "a list as the value of a patch");
        }
    }
}

fn expressions(list: &Json) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|item| item["expression"].as_str().unwrap())
}

fn context(object: &Json, variables: &Json) -> Context<'static, 'static> {
    let mut context = Context::default();
    context.add_variable_from_value("object", value(object));
    add_functions(&mut context).unwrap();
    let mut known: HashMap<String, Value> = HashMap::new();
    for variable in variables.as_array().into_iter().flatten() {
        context.add_variable_from_value("variables", Value::from(known.clone()));
        // One that fails is an error only where it is used.
        if let Ok(value) = evaluate(&context, variable["expression"].as_str().unwrap()) {
            known.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
    }
    context.add_variable_from_value("variables", Value::from(known));
    context
}

/// What Kubernetes adds to CEL.
fn add_functions(context: &mut Context<'_, '_>) -> Result<(), impl std::fmt::Debug> {
    context
        .add_function("replace", |This(this): This<Arc<String>>, from: Arc<String>, to: Arc<String>| {
            this.replace(from.as_str(), &to)
        })?;
    context.add_function("substring", |This(this): This<Arc<String>>, from: i64, to: i64| {
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        this.chars().skip(from).take(to - from).collect::<String>()
    })?;
    context.add_function("indexOf", |This(this): This<Arc<Vec<Value>>>, item: Value| {
        this.iter().position(|found| *found == item).map_or(-1, |index| i64::try_from(index).unwrap())
    })
}

fn evaluate(context: &Context<'_, '_>, cel: &str) -> Result<Value, String> {
    let program = Program::compile(&without_types(cel)).unwrap_or_else(|error| panic!("{error}: {cel}"));
    program.execute(context).map_err(|error| error.to_string())
}

/// Kubernetes' numbers are CEL's signed ones.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => (*bool).into(),
        Json::Number(number) => number.as_i64().unwrap().into(),
        Json::String(string) => string.as_str().into(),
        Json::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), value(field))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// `Object.spec{a: 1}` as `{'a': 1}`: the name of a type goes, the names of its fields become keys.
fn without_types(cel: &str) -> String {
    let (mut out, mut open) = (String::new(), Vec::new());
    let mut rest = cel;
    while let Some(char) = rest.chars().next() {
        let word: String =
            rest.chars().take_while(|char| char.is_ascii_alphanumeric() || "._".contains(*char)).collect();
        let is_type = rest[word.len()..].starts_with('{')
            && (word == "JSONPatch" || word.split('.').next() == Some("Object"));
        let is_field = open.last() == Some(&'s') && out.trim_end().ends_with(['{', ',']);
        let taken = match char {
            '\'' => quoted(rest),
            _ if is_type => {
                open.push('s');
                out.push('{');
                rest = &rest[word.len() + 1..];
                continue;
            }
            _ if is_field && !word.is_empty() => {
                out.push_str(&format!("'{word}'"));
                rest = &rest[word.len()..];
                continue;
            }
            _ if !word.is_empty() => word.len(),
            '{' | '(' | '[' => {
                open.push(char);
                1
            }
            '}' | ')' | ']' => {
                open.pop();
                1
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// How long the quoted string is at the beginning.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, char)| {
        let ends = *char == '\'' && !escaped;
        escaped = *char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(index, _)| index + 1)
}

#[test]
fn types_become_maps_and_nothing_else_changes() {
    let cel = "a ? b : [Object.spec.x{n: 'it\\'s {a: b}', m: {'k': v.f(c, c.d)}, l: [Object.spec.x.l{p: q ? r : s}]}]";
    let expected = "a ? b : [{'n': 'it\\'s {a: b}', 'm': {'k': v.f(c, c.d)}, 'l': [{'p': q ? r : s}]}]";
    assert_eq!(without_types(cel), expected);
}
