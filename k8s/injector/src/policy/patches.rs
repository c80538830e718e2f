//! The mutation: CEL that lists the JSON patches of a pod.
//!
//! Lists are created empty and then filled. In Kubernetes 1.34 to 1.36 a patch whose value is a list of objects crashes
//! the API server.

use serde_json::Value;

use super::literal;
use super::values::Values;
use crate::annotations::{APP_PORT_NAME, ENVOY};
use crate::moving::{FIRST_UNPRIVILEGED, SYSCTL};
use crate::ports::HANDLERS;
use crate::sidecar::TEMPLATE;

/// All patches; none if the pod has a fault.
pub(super) fn mutation(values: Values<'_>) -> String {
    let steps =
        [redirect_handlers(), declare_ports(), move_app(), open_low_ports(), add_hook(), add_sidecar(values)];
    format!("variables.faulty ? [] :\n{}", steps.join(" +\n"))
}

fn add_sidecar(values: Values<'_>) -> String {
    let sidecar = &*TEMPLATE;
    let mut patches = Vec::new();
    for (name, value) in &sidecar.labels {
        let literal = literal::of(value, "", values);
        patches.push((None, add(&literal::text(&format!("/metadata/labels/{}", escaped(name))), &literal)));
    }
    for (list, items) in [("volumes", &sidecar.volumes), ("initContainers", &sidecar.init_containers)] {
        for item in items {
            patches.push(literal::conditional(item, |item| {
                let literal = literal::of(item, &format!("Object.spec.{list}"), values);
                add(&format!("'/spec/{list}/-'"), &literal)
            }));
        }
    }
    format!(
        "(has(object.metadata.labels) ? [] : [{}]) +\n(has(object.spec.volumes) ? [] : [{}]) +\n\
         (has(object.spec.initContainers) ? [] : [{}]) +\n{}",
        add("'/metadata/labels'", "{}"),
        add("'/spec/volumes'", "[]"),
        add("'/spec/initContainers'", "[]"),
        literal::lists(patches.into_iter(), ",\n"),
    )
}

fn add_hook() -> String {
    const LIFECYCLE: &str = "Object.spec.containers.lifecycle";
    let settings = crate::settings::Settings::default();
    let hook: &Value = &TEMPLATE.pre_stop;
    let hook = literal::of(hook, &format!("{LIFECYCLE}.preStop"), Values::Of(&settings));
    format!(
        "(!variables.hook ? [] : has(variables.app.lifecycle) ? [{}] : [{}])",
        add("variables.path + '/lifecycle/preStop'", &hook),
        add("variables.path + '/lifecycle'", &format!("{LIFECYCLE}{{preStop: {hook}}}")),
    )
}

/// `ports::Layout::redirect_handlers`
fn redirect_handlers() -> String {
    let handlers = HANDLERS.map(|[place, handler]| {
        let field = format!("variables.app.{}", place.replace('/', "."));
        let parents = place.split('/').scan("variables.app".to_owned(), |path, name| {
            *path = format!("{path}.{name}");
            Some(format!("has({path})"))
        });
        let has = parents.chain([format!("has({field}.{handler})")]).collect::<Vec<_>>().join(" && ");
        let path = format!("variables.path + '/{place}/{handler}/port'");
        format!(
            "({has} && string({field}.{handler}.port) in variables.handlerPorts ? [{}] : [])",
            add(&path, "int(variables.appPort)")
        )
    });
    handlers.join(" +\n")
}

/// `ports::Layout::declare`
fn declare_ports() -> String {
    let named = "has(p.name) && (!has(p.protocol) || p.protocol == 'TCP') && string(p.containerPort) == variables.appNumber";
    let renumber = add("variables.path + '/ports/' + string(i) + '/containerPort'", &ENVOY.to_string());
    let own = format!(
        "Object.spec.containers.ports{{containerPort: int(variables.appPort), name: '{APP_PORT_NAME}', protocol: 'TCP'}}"
    );
    format!(
        "(variables.moves || !has(variables.app.ports) ? [] : variables.app.ports.transformList(i, p, {named}, {renumber})) \
         +\n(!variables.moves && size(variables.portNames) == 0 ? [] :\n(has(variables.app.ports) ? [] : [{}]) + [{}])",
        add("variables.path + '/ports'", "[]"),
        add("variables.path + '/ports/-'", &own),
    )
}

/// `moving::Move::apply`
fn move_app() -> String {
    let replace_variable = add("variables.path + '/env/' + string(i) + '/value'", "variables.moveValue");
    let variable = "Object.spec.containers.env{name: variables.moveName, value: variables.moveValue}";
    let env = format!(
        "variables.env.transformList(i, e, e.name == variables.moveName, {replace_variable}) +\n\
         (size(variables.moveHeld) > 0 ? [] : (has(variables.app.env) ? [] : [{}]) + [{}])",
        add("variables.path + '/env'", "[]"),
        add("variables.path + (variables.moveTemplate.contains('$(') ? '/env/-' : '/env/0')", variable),
    );
    let place = "variables.path + (i < size(variables.command) ? '/command/' + string(i) : \
                 '/args/' + string(i - size(variables.command)))";
    let joined = "w.startsWith(variables.moveName + '=')";
    let apart = "i > 0 && variables.words[i - 1] == variables.moveName";
    let value = format!("{joined} ? variables.moveName + '=' + variables.moveValue : variables.moveValue");
    let new = [
        add("variables.path + '/args/-'", "variables.moveName"),
        add("variables.path + '/args/-'", "variables.moveValue"),
        add("variables.path + '/args/-'", "variables.moveName + '=' + variables.moveValue"),
    ];
    let arg = format!(
        "variables.words.transformList(i, w, {joined} || ({apart}), {}) +\n\
         (variables.words.exists(w, w == variables.moveName || {joined}) ? [] :\n\
         (has(variables.app.args) ? [] : [{}]) + (size(variables.moveName) == 2 ? [{}, {}] : [{}]))",
        replace(place, &value),
        add("variables.path + '/args'", "[]"),
        new[0],
        new[1],
        new[2],
    );
    format!("(variables.movesBy == 'env' ? {env} :\nvariables.movesBy == 'arg' ? {arg} : [])")
}

/// `moving::open_low_ports`
fn open_low_ports() -> String {
    let allowed = "s.value.matches('^[0-9]{1,5}$') && int(s.value) <= int(variables.appNumber)";
    format!(
        "(!variables.moves || int(variables.appNumber) >= {FIRST_UNPRIVILEGED} ? [] :\n\
         (has(object.spec.securityContext) ? [] : [{}]) +\n\
         (size(variables.sysctls) > 0 ? [] : [{}]) +\n\
         (variables.sysctls.exists(s, s.name == '{SYSCTL}') ?\n\
         variables.sysctls.transformList(i, s, s.name == '{SYSCTL}' && !({allowed}), {}) : [{}]))",
        add("'/spec/securityContext'", "Object.spec.securityContext{}"),
        add("'/spec/securityContext/sysctls'", "[]"),
        add("'/spec/securityContext/sysctls/' + string(i) + '/value'", "'0'"),
        add(
            "'/spec/securityContext/sysctls/-'",
            &format!("Object.spec.securityContext.sysctls{{name: '{SYSCTL}', value: '0'}}")
        ),
    )
}

/// Adds an element to a list or sets a field of an object.
fn add(path: &str, value: &str) -> String {
    patch("add", path, value)
}

/// Replaces an element of a list.
fn replace(path: &str, value: &str) -> String {
    patch("replace", path, value)
}

fn patch(op: &str, path: &str, value: &str) -> String {
    format!("JSONPatch{{op: '{op}', path: {path}, value: {value}}}")
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
