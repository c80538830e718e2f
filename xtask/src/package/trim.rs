//! The step after linking a module: removes the callbacks that it does not use, and the code that only they reach.
//!
//! The `proxy-wasm` crate exports every callback, and Envoy enters the VM for each exported one.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use walrus::ir::{Instr, InstrLocId, Visitor, dfs_in_order};
use walrus::{ElementItems, Export, FunctionBuilder, FunctionId, Module, ModuleConfig, TypeId, passes};

/// Exports that are no callbacks. The host allocates memory for its answers through `malloc`. Only test builds have the
/// last one.
const ALWAYS: [&str; 5] =
    ["memory", "_initialize", "proxy_abi_version_0_2_1", "malloc", "scoretap_allocations"];

/// The module with these callbacks only.
///
/// It still has the names of its functions, but writes none.
pub(super) fn trim(module: &[u8], callbacks: &[&str]) -> Result<Module> {
    let mut config = ModuleConfig::new();
    let mut module = config.generate_producers_section(false).generate_name_section(false).parse(module)?;
    for callback in callbacks {
        ensure!(module.exports.iter().any(|export| export.name == *callback), "there is no {callback}");
    }
    let sections: Vec<_> = module.customs.iter().map(|(section, _)| section).collect();
    sections.into_iter().for_each(|section| drop(module.customs.delete(section)));
    let is_used = |name: &str| ALWAYS.contains(&name) || callbacks.contains(&name);
    let unused: Vec<_> =
        module.exports.iter().filter(|export| !is_used(&export.name)).map(Export::id).collect();
    unused.into_iter().for_each(|export| module.exports.delete(export));
    passes::gc::run(&mut module);
    let mut trap = None;
    while empty_uncallable_slots(&mut module, &mut trap)? {
        passes::gc::run(&mut module);
    }
    Ok(module)
}

/// Replaces functions in the table that no instruction can call with one that traps; whether there were any.
///
/// A function in the table is called through `call_indirect` alone, which traps unless the function has the type that the
/// instruction names. So if no remaining instruction names its type, the function is never called. Most such functions
/// are default methods of the crate's traits, because each vtable has all of them.
fn empty_uncallable_slots(module: &mut Module, trap: &mut Option<FunctionId>) -> Result<bool> {
    let called = indirectly_called_types(module)?;
    let slots = module.elements.iter().filter_map(|element| match &element.items {
        ElementItems::Functions(functions) => Some(functions),
        ElementItems::Expressions(..) => None,
    });
    let uncallable: HashSet<FunctionId> = slots
        .flatten()
        .copied()
        .filter(|function| Some(*function) != *trap && !called.contains(&module.funcs.get(*function).ty()))
        .collect();
    if uncallable.is_empty() {
        return Ok(false);
    }
    let trap = *trap.get_or_insert_with(|| add_trap(module));
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            functions
                .iter_mut()
                .filter(|function| uncallable.contains(function))
                .for_each(|slot| *slot = trap);
        }
    }
    Ok(true)
}

fn add_trap(module: &mut Module) -> FunctionId {
    let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
    builder.func_body().unreachable();
    builder.finish(Vec::new(), &mut module.funcs)
}

/// The types that instructions name to call a function in the table, in a module that uses its table for nothing else.
fn indirectly_called_types(module: &Module) -> Result<HashSet<TypeId>> {
    let mut calls = IndirectCalls::default();
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut calls, function, function.entry_block());
    }
    let is_private = module.tables.iter().all(|table| table.import.is_none());
    ensure!(is_private && !calls.has_other_uses, "functions can be reached in other ways than by their type");
    Ok(calls.types)
}

#[derive(Default)]
struct IndirectCalls {
    types: HashSet<TypeId>,
    has_other_uses: bool,
}

impl<'i> Visitor<'i> for IndirectCalls {
    fn visit_instr(&mut self, instruction: &'i Instr, _: &'i InstrLocId) {
        match instruction {
            Instr::CallIndirect(call) => drop(self.types.insert(call.ty)),
            Instr::ReturnCallIndirect(call) => drop(self.types.insert(call.ty)),
            Instr::CallRef(_)
            | Instr::ReturnCallRef(_)
            | Instr::RefFunc(_)
            | Instr::TableGet(_)
            | Instr::TableSet(_)
            | Instr::TableGrow(_)
            | Instr::TableFill(_)
            | Instr::TableInit(_)
            | Instr::TableCopy(_) => self.has_other_uses = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One callback calls the table's first function. The other callback alone calls the second one.
    const MODULE: &str = r#"(module
        (type $one (func (param i32)))
        (type $two (func (param i64)))
        (table 2 2 funcref)
        (memory (export "memory") 1)
        (elem (i32.const 0) $first $second)
        (func $first (param i32) (drop (memory.grow (i32.const 1))))
        (func $second (param i64) (call $helper))
        (func $helper (drop (memory.grow (i32.const 2))))
        (func (export "proxy_on_log") (call_indirect (type $one) (i32.const 7) (i32.const 0)))
        (func (export "proxy_on_tick") (call_indirect (type $two) (i64.const 7) (i32.const 1))))"#;

    fn trimmed(callbacks: &[&str]) -> Module {
        let mut module = trim(&wat::parse_str(MODULE).unwrap(), callbacks).unwrap();
        Module::from_buffer(&module.emit_wasm()).unwrap()
    }

    #[test]
    fn unused_callbacks_are_removed_with_their_code() {
        let module = trimmed(&["proxy_on_log"]);
        let exports: Vec<_> = module.exports.iter().map(|export| export.name.clone()).collect();
        assert_eq!(exports, ["memory", "proxy_on_log"]);
        // The callback, the first function, and the one that traps.
        assert_eq!(module.funcs.iter().count(), 3);
    }

    #[test]
    fn callable_functions_stay_in_the_table() {
        assert_eq!(trimmed(&["proxy_on_log", "proxy_on_tick"]).funcs.iter().count(), 5);
    }

    #[test]
    fn missing_callback_is_an_error() {
        assert!(trim(&wat::parse_str(MODULE).unwrap(), &["proxy_on_delete"]).is_err());
    }

    #[test]
    fn other_uses_of_the_table_are_an_error() {
        let taken = MODULE.replace("(call $helper)", "(drop (table.get 0 (i32.const 0)))");
        assert!(trim(&wat::parse_str(taken).unwrap(), &["proxy_on_tick"]).is_err());
    }
}
