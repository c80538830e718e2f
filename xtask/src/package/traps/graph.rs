//! Which functions a module's callbacks can reach, and where these trap.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Result, bail};
use walrus::ir::{
    CallIndirect, Instr, InstrLocId, InstrSeq, InstrSeqId, ReturnCallIndirect, Value, Visitor, dfs_in_order,
};
use walrus::{ConstExpr, DataKind, ElementItems, ElementKind, FunctionId, LocalId, Module, TypeId};

/// A vtable begins with the destructor, the size and the alignment of a type. Its methods follow.
const FIRST_METHOD: u32 = 12;
const WORD: u32 = 4;
/// Larger vtables than that are those of the traits for contexts. Their methods are not used as plain pointers.
const SMALL_VTABLE: u32 = 32;

/// A place that does not return.
pub(super) struct Trap {
    /// The function that is called and does not return; empty if there is none.
    pub(super) callee: String,
    /// The line of source that the call names; empty if it names none.
    pub(super) line: String,
    /// The function, its caller, and so on to the callback.
    pub(super) path: Vec<String>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let callee = if self.callee.is_empty() { "unreachable" } else { &self.callee };
        write!(f, "{callee} at {}", if self.line.is_empty() { &self.path[0] } else { &self.line })
    }
}

/// A linked module with the names of its functions.
pub(super) struct Graph<'m> {
    module: &'m Module,
    bodies: HashMap<FunctionId, Body>,
    /// The functions with an address, by that address.
    table: HashMap<u32, FunctionId>,
    /// The constants of the module, as it is loaded.
    memory: Vec<u8>,
    /// The functions of all vtables by their offset in the vtable.
    methods: HashMap<u32, HashSet<FunctionId>>,
    /// The addresses in memory outside of vtables.
    pointers: HashSet<u32>,
}

impl<'m> Graph<'m> {
    pub(super) fn new(module: &'m Module) -> Result<Self> {
        let mut graph = Self {
            module,
            bodies: module
                .funcs
                .iter_local()
                .map(|(id, function)| {
                    let mut body = Body::default();
                    dfs_in_order(&mut body, function, function.entry_block());
                    (id, body)
                })
                .collect(),
            table: HashMap::new(),
            memory: Vec::new(),
            methods: HashMap::new(),
            pointers: HashSet::new(),
        };
        graph.read_table()?;
        graph.read_memory()?;
        graph.find_methods();
        Ok(graph)
    }

    fn read_table(&mut self) -> Result<()> {
        for element in self.module.elements.iter() {
            let ElementKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = element.kind else {
                bail!("the table is filled in another way than linkers do");
            };
            let ElementItems::Functions(functions) = &element.items else { continue };
            self.table.extend((start.cast_unsigned()..).zip(functions.iter().copied()));
        }
        Ok(())
    }

    fn read_memory(&mut self) -> Result<()> {
        for data in self.module.data.iter() {
            let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = data.kind else {
                bail!("memory is filled in another way than linkers do");
            };
            let start = usize::try_from(start)?;
            let end = start + data.value.len();
            self.memory.resize(self.memory.len().max(end), 0);
            self.memory[start..end].copy_from_slice(&data.value);
        }
        Ok(())
    }

    /// Takes for a vtable whatever looks like one, so that none is missed.
    fn find_methods(&mut self) {
        let end = u32::try_from(self.memory.len()).unwrap_or(u32::MAX);
        let mut in_vtables = HashSet::new();
        for start in (0..end).step_by(WORD as usize) {
            let [destructor, size, alignment] = [0, 1, 2].map(|index| self.word(start + index * WORD));
            let is_type = alignment.is_power_of_two() && alignment <= 16 && size.is_multiple_of(alignment);
            let destructor = self.table.get(&destructor).copied().ok_or(destructor);
            if !is_type || matches!(destructor, Err(1..)) {
                continue;
            }
            let method = |offset: u32| Some((offset, *self.table.get(&self.word(start + offset))?));
            let methods: Vec<_> = (FIRST_METHOD..).step_by(WORD as usize).map_while(method).collect();
            let functions = destructor.ok().map(|function| (0, function)).into_iter().chain(methods);
            for (offset, function) in functions {
                in_vtables.insert(start + offset);
                self.methods.entry(offset).or_default().insert(function);
            }
        }
        let others = (0..end).step_by(WORD as usize).filter(|address| !in_vtables.contains(address));
        self.pointers = others.map(|address| self.word(address)).collect();
    }

    fn word(&self, address: u32) -> u32 {
        let bytes =
            usize::try_from(address).ok().and_then(|address| self.memory.get(address..)?.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The function at an address, if that may be used as a plain pointer.
    fn pointee(&self, address: u32) -> Option<FunctionId> {
        let function = *self.table.get(&address)?;
        let is_method =
            |(offset, methods): (&u32, &HashSet<_>)| *offset >= SMALL_VTABLE && methods.contains(&function);
        (!self.methods.iter().any(is_method)).then_some(function)
    }

    /// Where the functions trap that the callbacks reach.
    pub(super) fn traps(&self, callbacks: &[FunctionId], creates_plugins: &str) -> Vec<Trap> {
        let reached = Walk::new(self, creates_plugins).from(callbacks);
        let mut traps = Vec::new();
        for function in reached.keys() {
            let Some(body) = self.bodies.get(function) else { continue };
            for (callee, argument) in &body.traps {
                traps.push(Trap {
                    callee: callee.map(|callee| self.name(callee)).unwrap_or_default(),
                    line: argument.and_then(|address| self.line(address)).unwrap_or_default(),
                    path: self.path(*function, &reached),
                });
            }
        }
        traps
    }

    fn path(&self, function: FunctionId, reached: &HashMap<FunctionId, Option<FunctionId>>) -> Vec<String> {
        std::iter::successors(Some(function), |function| reached.get(function).copied().flatten())
            .map(|function| self.name(function))
            .collect()
    }

    fn name(&self, function: FunctionId) -> String {
        let name = self.module.funcs.get(function).name.as_deref().unwrap_or("a function without a name");
        format!("{:#}", rustc_demangle::demangle(name))
    }

    /// The file and line at this address, if a `core::panic::Location` is there.
    fn line(&self, address: u32) -> Option<String> {
        let [start, length, line] = [0, 1, 2].map(|index| self.word(address.saturating_add(index * WORD)));
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
        let file = std::str::from_utf8(self.memory.get(start..start.checked_add(length)?)?).ok()?;
        file.ends_with(".rs").then(|| format!("{file}:{line}"))
    }
}

/// The search for what can be reached.
struct Walk<'g, 'm> {
    graph: &'g Graph<'m>,
    creates_plugins: &'g str,
    /// Each function with the one that calls it.
    reached: HashMap<FunctionId, Option<FunctionId>>,
    waiting: Vec<FunctionId>,
    /// Functions whose address the code so far has as a number.
    taken: HashSet<FunctionId>,
    /// The types of function pointers that the code so far calls, each with one caller.
    called: HashMap<TypeId, FunctionId>,
}

impl<'g, 'm> Walk<'g, 'm> {
    fn new(graph: &'g Graph<'m>, creates_plugins: &'g str) -> Self {
        let taken = graph.pointers.iter().filter_map(|address| graph.pointee(*address)).collect();
        Self {
            graph,
            creates_plugins,
            reached: HashMap::new(),
            waiting: Vec::new(),
            taken,
            called: HashMap::new(),
        }
    }

    fn from(mut self, callbacks: &[FunctionId]) -> HashMap<FunctionId, Option<FunctionId>> {
        callbacks.iter().for_each(|callback| self.reach(*callback, None));
        while let Some(function) = self.waiting.pop() {
            self.follow(function);
        }
        self.reached
    }

    fn reach(&mut self, function: FunctionId, caller: Option<FunctionId>) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.reached.entry(function) {
            entry.insert(caller);
            self.waiting.push(function);
        }
    }

    fn type_of(&self, function: FunctionId) -> TypeId {
        self.graph.module.funcs.get(function).ty()
    }

    fn follow(&mut self, function: FunctionId) {
        let graph = self.graph;
        let Some(body) = graph.bodies.get(&function) else { return };
        body.calls.iter().for_each(|callee| self.reach(*callee, Some(function)));
        for address in &body.constants {
            let Some(target) = graph.pointee(*address) else { continue };
            self.taken.insert(target);
            if let Some(&caller) = self.called.get(&self.type_of(target)) {
                self.reach(target, Some(caller));
            }
        }
        for &(callee_type, offset) in &body.indirect_calls {
            let methods = offset.and_then(|offset| graph.methods.get(&offset));
            if methods.is_none() && graph.name(function) == self.creates_plugins {
                continue;
            }
            if methods.is_none() {
                self.called.entry(callee_type).or_insert(function);
            }
            let targets = methods.unwrap_or(&self.taken).iter().copied();
            let targets: Vec<_> = targets.filter(|target| self.type_of(*target) == callee_type).collect();
            targets.into_iter().for_each(|target| self.reach(target, Some(function)));
        }
    }
}

/// A function: what it calls and where it traps.
#[derive(Default)]
struct Body {
    calls: Vec<FunctionId>,
    /// The types of the functions, and the offset in a vtable from which their address was loaded, if it was.
    indirect_calls: Vec<(TypeId, Option<u32>)>,
    /// Calls that do not return, with their last argument if that is constant; and traps without a call.
    traps: Vec<(Option<FunctionId>, Option<u32>)>,
    constants: HashSet<u32>,
    sequences: Vec<InstrSeqId>,
    /// Offsets from which locals were loaded, and where.
    loaded: HashMap<LocalId, (InstrSeqId, Option<u32>)>,
    before: Before,
    /// The blocks that a `match` leaves for one of its cases.
    cases: HashSet<InstrSeqId>,
    /// The blocks that other branches leave.
    branched: HashSet<InstrSeqId>,
}

/// The instruction before the current one.
#[derive(Clone, Copy, Default)]
enum Before {
    Constant(u32),
    Load(u32),
    Local(LocalId),
    Call(FunctionId, Option<u32>),
    /// The next instruction is reached by a branch only.
    Branch,
    /// The end of a block that only branches leave.
    End(InstrSeqId),
    #[default]
    Other,
}

impl Body {
    /// The offset from which the value was loaded that the instruction before this one leaves.
    fn offset(&self) -> Option<u32> {
        match self.before {
            Before::Load(offset) => Some(offset),
            // In the same sequence, the last assignment is the one that counts.
            Before::Local(local) => {
                let (sequence, offset) = self.loaded.get(&local)?;
                offset.filter(|_| self.sequences.last() == Some(sequence))
            }
            Before::Constant(_) | Before::Call(..) | Before::Branch | Before::End(_) | Before::Other => None,
        }
    }

    fn trap(&mut self) {
        match self.before {
            Before::Call(callee, argument) => {
                // The callees of a panic do not matter.
                self.calls.pop();
                self.traps.push((Some(callee), argument));
            }
            // The compiler knows that no value has this case: code that panics would call something.
            Before::End(block) if self.cases.contains(&block) && !self.branched.contains(&block) => {}
            _ => self.traps.push((None, None)),
        }
    }

    fn assign(&mut self, local: LocalId) -> Option<u32> {
        let offset = self.offset();
        self.loaded.extend(self.sequences.last().map(|sequence| (local, (*sequence, offset))));
        offset
    }
}

impl<'i> Visitor<'i> for Body {
    fn start_instr_seq(&mut self, sequence: &'i InstrSeq) {
        self.sequences.push(sequence.id());
        self.before = Before::Other;
    }

    fn end_instr_seq(&mut self, sequence: &'i InstrSeq) {
        self.sequences.pop();
        self.before =
            if let Before::Branch = self.before { Before::End(sequence.id()) } else { Before::Other };
    }

    fn visit_instr(&mut self, instruction: &'i Instr, _: &'i InstrLocId) {
        self.before = match instruction {
            Instr::Call(call) => {
                self.calls.push(call.func);
                let argument = if let Before::Constant(value) = self.before { Some(value) } else { None };
                Before::Call(call.func, argument)
            }
            Instr::ReturnCall(call) => {
                self.calls.push(call.func);
                Before::Other
            }
            Instr::CallIndirect(CallIndirect { ty, .. })
            | Instr::ReturnCallIndirect(ReturnCallIndirect { ty, .. }) => {
                self.indirect_calls.push((*ty, self.offset()));
                Before::Other
            }
            Instr::Unreachable(_) => {
                self.trap();
                Before::Branch
            }
            Instr::Br(branch) => {
                self.branched.insert(branch.block);
                Before::Branch
            }
            Instr::BrIf(branch) => {
                self.branched.insert(branch.block);
                Before::Other
            }
            Instr::BrTable(table) => {
                self.cases.extend(table.blocks.iter().chain([&table.default]));
                Before::Branch
            }
            Instr::Return(_) => Before::Branch,
            Instr::Load(load) => u32::try_from(load.arg.offset).map_or(Before::Other, Before::Load),
            Instr::LocalGet(get) => Before::Local(get.local),
            Instr::LocalSet(set) => {
                self.assign(set.local);
                Before::Other
            }
            Instr::LocalTee(tee) => self.assign(tee.local).map_or(Before::Other, Before::Load),
            Instr::Const(constant) => match constant.value {
                Value::I32(value) => {
                    self.constants.insert(value.cast_unsigned());
                    Before::Constant(value.cast_unsigned())
                }
                _ => Before::Other,
            },
            _ => Before::Other,
        };
    }
}
