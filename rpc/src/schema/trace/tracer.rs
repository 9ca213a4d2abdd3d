//! The source that answers every question of a type with a value to try, and writes down what was asked.
//!
//! One pass reads one value. What a pass learns changes what the next one gives: parts that were not seen before are sought out,
//! what fails is tried with other candidates and read after all else. `mod.rs` makes the passes; `plan.rs` says where to go.

use std::collections::HashMap;

use super::candidates;
use super::frame::{Elements, Frame, Inside, KeyState, Keys, Pick};
use super::names;
use super::plan::{NEVER, Plan};
use super::state::{EnumState, FieldsState, Key, Place, ShapeState, Slot, State, Texts, Type};
use crate::frame::payload::{Fault, Problem};
use crate::schema::node::{Id, Node};
use crate::schema::source::{Ask, Feed, Kind, Part, Source};

/// Containers in containers: deeper is a type that has no end.
const DEPTH: usize = 96;
/// How often an enum may stand inside itself while its variants are explored.
const NESTED: usize = 4;
/// Elements of a tuple: one with more is not looked into.
const LONGEST: usize = 1 << 16;
/// How many types are looked at where a type asks for another one each time.
const VARIATIONS: u32 = 32;
/// The name of a field or variant that no type has.
const UNKNOWN: &str = "?";

/// See the module.
#[derive(Debug)]
pub(super) struct Tracer {
    pub(super) types: Vec<Type>,
    pub(super) root: Slot,
    /// What is read, as written by the compiler.
    pub(super) root_name: &'static str,
    /// What will not work on the wire.
    pub(super) problems: Texts,
    /// Grows with all that is learned.
    pub(super) progress: u64,
    /// This pass is about names: fields are left out, unknown ones added, and values are zero or empty where that is taken.
    pub(super) probing: bool,
    /// Where this pass went to see something new.
    pub(super) ventures: Vec<Venture>,
    /// The variants that this pass gave.
    pub(super) picks: Vec<(Id, usize)>,
    keys: HashMap<Key, Id>,
    frames: Vec<Frame>,
    /// How many candidates a visitor itself has refused.
    refused: HashMap<(&'static str, &'static str), u32>,
    last: Last,
    fate: Fate,
    /// The fault under way is final: other values would not help.
    hopeless: bool,
    /// How many types were met where another one had been.
    variations: u32,
    /// The type of the name that was read last can be compared with others.
    shows: bool,
    plan: Plan,
    /// What `progress` was when the plan was made.
    planned: Option<u64>,
}

/// A place that a pass went to in order to see something new.
#[derive(Clone, Copy, Debug)]
pub(super) enum Venture {
    Part(Id, Place),
    Variant(Id, usize),
    /// Fields left out or added.
    Names(Id, Option<usize>),
    /// An unknown variant.
    Unknown(Id),
}

/// What was fed last, if it had no parts.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    Name,
    Leaf { kind: Kind, name: &'static str, visitor: &'static str },
}

/// What is known of the fault under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody has been blamed.
    Open,
    /// Something will be given differently next time.
    Blamed,
    /// It has told what there was to learn; no value was at fault.
    Learned,
}

impl Tracer {
    pub(super) fn new() -> Self {
        Self {
            types: Vec::new(),
            root: Slot::default(),
            root_name: "",
            problems: Texts::default(),
            progress: 0,
            probing: false,
            ventures: Vec::new(),
            picks: Vec::new(),
            keys: HashMap::new(),
            frames: Vec::new(),
            refused: HashMap::new(),
            last: Last::Nothing,
            fate: Fate::Open,
            hopeless: false,
            variations: 0,
            shows: false,
            plan: Plan::default(),
            planned: None,
        }
    }

    /// Before each pass.
    pub(super) fn begin(&mut self) {
        self.types.iter_mut().for_each(|one| one.busy = 0);
        self.ventures.clear();
        self.picks.clear();
        self.last = Last::Nothing;
        self.fate = Fate::Open;
        self.hopeless = false;
        self.planned = None;
        self.frames.clear();
        self.frames.push(Frame {
            node: Id::MAX,
            inside: Inside::Root,
            current: Some(Place::One),
            offset: 0,
            plain: false,
            begun: true,
            counts: false,
        });
    }

    /// The pass gave a value.
    pub(super) fn succeeded(&mut self) {
        self.part_succeeded();
    }

    /// The pass gave a fault.
    pub(super) fn faulted(&mut self) {
        if let Some(root) = self.frames.pop()
            && self.fate == Fate::Open
        {
            self.blame(&root);
        }
    }

    /// The pass ended in a panic. Whatever was being read then is not read again.
    pub(super) fn panicked(&mut self) {
        self.hopeless = true;
        self.fate = Fate::Open;
        while let Some(frame) = self.frames.pop() {
            self.blame(&frame);
        }
    }

    /// Nothing came of this.
    pub(super) fn settle(&mut self, venture: Venture) {
        self.progress += 1;
        match venture {
            Venture::Part(id, place) => {
                if let Some(slot) = self.types[id as usize].slot(place) {
                    slot.settled = true;
                }
            }
            Venture::Variant(id, variant) => {
                if let Some(variant) = self.types[id as usize].variants().and_then(|variants| variants.list.get_mut(variant)) {
                    variant.settled = true;
                }
            }
            Venture::Names(id, variant) => {
                if let Some(fields) = self.types[id as usize].fields(variant) {
                    fields.settled = true;
                }
            }
            Venture::Unknown(id) => {
                if let Some(variants) = self.types[id as usize].variants() {
                    variants.settled = true;
                }
            }
        }
    }

    /// Where the pass stands, for people: `Order.method`.
    fn context(&self) -> String {
        for frame in self.frames.iter().rev() {
            let Some(one) = self.types.get(frame.node as usize) else { break };
            let Some(name) = one.name() else { continue };
            let part = match (&one.state, frame.current) {
                (State::Struct(_, fields), Some(Place::Field(at))) => fields.list.get(at).map(|field| field.name),
                (State::Enum(_, variants), Some(Place::Variant(variant, _))) => variants.list.get(variant).map(|variant| variant.name),
                _ => None,
            };
            return match part {
                Some(part) => format!("{name}.{part}"),
                None => name.to_owned(),
            };
        }
        names::short(self.root_name)
    }

    fn plan(&mut self) {
        if self.planned != Some(self.progress) {
            self.plan = Plan::new(&self.types, self.probing);
            self.planned = Some(self.progress);
        }
    }

    /// The place of a type in the table, where it is entered when it is met first.
    fn enter_type(&mut self, key: Key, logical: Option<&'static str>, state: impl FnOnce() -> State) -> Id {
        if let Some(id) = self.keys.get(&key) {
            return *id;
        }
        let id = self.types.len() as Id;
        self.types.push(Type { state: state(), logical, busy: 0 });
        self.keys.insert(key, id);
        self.progress += 1;
        id
    }

    /// Which type asks.
    fn type_of(&mut self, ask: &Ask) -> Result<Id, Fault> {
        let key = |kind, length, names| Key { kind, visitor: ask.visitor(), size: ask.size(), length, names };
        if let Some((kind, node)) = candidates::leaf(ask.kind) {
            let is_named = matches!(node, Node::UnitStruct(_));
            let own = (!is_named && names::is_own(ask.value())).then_some(ask.value());
            let visitor = if is_named { ask.visitor() } else { own.unwrap_or("") };
            return Ok(self.enter_type(Key { kind, visitor, size: 0, length: 0, names: &[] }, own, || State::Leaf(node)));
        }
        Ok(match ask.kind {
            Kind::Tuple(length) | Kind::TupleStruct(_, length) if length > LONGEST => {
                self.enter_type(key("long", length, &[]), None, || State::Leaf(Node::Opaque(format!("a tuple of {length} elements"))))
            }
            Kind::Option => self.enter_type(key("option", 0, &[]), None, || State::Option(Slot::default())),
            Kind::Seq => self.enter_type(key("seq", 0, &[]), None, || State::Seq(Slot::default())),
            Kind::Map if names::is_derived(ask.visitor()) => return Ok(self.opaque(ask)),
            Kind::Map => self.enter_type(key("map", 0, &[]), None, || State::Map(Slot::default(), Slot::default())),
            Kind::Newtype(name) => self.enter_type(key("newtype", 0, &[]), None, || State::Newtype(name, Slot::default())),
            Kind::Tuple(length) => {
                let own = names::is_own(ask.value()).then_some(ask.value());
                self.enter_type(key("tuple", length, &[]), own, || State::Tuple(None, vec![Slot::default(); length]))
            }
            Kind::TupleStruct(name, length) => {
                self.enter_type(key("tuple struct", length, &[]), None, || State::Tuple(Some(name), vec![Slot::default(); length]))
            }
            Kind::Struct(name, fields) => {
                let own = names::special(name, ask.value());
                self.enter_type(key("struct", 0, fields), own, || State::Struct(name, FieldsState::new(fields)))
            }
            Kind::Enum(name, variants) => {
                let own = names::special(name, ask.value());
                self.enter_type(key("enum", 0, variants), own, || State::Enum(name, EnumState::new(variants)))
            }
            Kind::TupleVariant(_) | Kind::StructVariant(_) => return Err(Fault::malformed("parts of a variant outside of one")),
            _ => return Ok(self.opaque(ask)),
        })
    }

    fn is_opaque(&self, id: Id) -> bool {
        matches!(self.types[id as usize].state, State::Leaf(Node::Opaque(_)))
    }

    /// A type that wants to be told what there is, which postcard does not know.
    fn opaque(&mut self, ask: &Ask) -> Id {
        let reason = names::self_describing(ask, &self.context());
        // What was another type before is told of as that.
        if self.slot().is_none_or(|slot| slot.node.is_none()) {
            self.problems.add(reason.clone());
        }
        let key = Key { kind: "opaque", visitor: ask.visitor(), size: ask.size(), length: 0, names: &[] };
        self.enter_type(key, None, || State::Leaf(Node::Opaque(reason)))
    }

    fn slot_of(&mut self, frame: &Frame) -> Option<&mut Slot> {
        match frame.inside {
            Inside::Root => Some(&mut self.root),
            _ => self.types.get_mut(frame.node as usize)?.slot(frame.current?),
        }
    }

    /// The slot that the innermost frame is at.
    fn slot(&mut self) -> Option<&mut Slot> {
        let frame = self.frames.last()?;
        match frame.inside {
            Inside::Root => Some(&mut self.root),
            _ => self.types.get_mut(frame.node as usize)?.slot(frame.current?),
        }
    }

    fn part_succeeded(&mut self) {
        let Some(slot) = self.slot() else { return };
        let revived = slot.dead;
        slot.dead = false;
        slot.failed = false;
        if revived {
            self.progress += 1;
        }
        if let Some(Inside::Fields(keys)) = self.frames.last().map(|frame| &frame.inside)
            && keys.state == KeyState::UnknownValue
        {
            self.learn_strict(false);
        }
    }

    fn learn_strict(&mut self, strict: bool) {
        if let Some((node, variant)) = self.fields_frame()
            && let Some(fields) = self.types[node as usize].fields(variant)
            && fields.strict.is_none()
        {
            fields.strict = Some(strict);
            self.progress += 1;
        }
    }

    /// The struct, or struct variant, whose fields are being read.
    fn fields_frame(&self) -> Option<(Id, Option<usize>)> {
        let frame = self.frames.last()?;
        match &frame.inside {
            Inside::Fields(keys) => Some((frame.node, keys.variant)),
            _ => None,
        }
    }

    /// What stands here has something that was not seen, and is not being read already.
    fn wants(&self, slot: &Slot) -> bool {
        self.plan.is_unseen(slot) && slot.node.is_none_or(|id| self.types[id as usize].busy == 0)
    }

    /// Feeds a value to whatever stands at the current place.
    fn value(&mut self, ask: &Ask) -> Result<Feed<'static>, Fault> {
        if self.variations > VARIATIONS && self.slot().is_some_and(|slot| slot.varies) {
            self.hopeless = true;
            return Err(Fault::malformed("a type that is another one each time"));
        }
        let known = self.types.len();
        let id = self.type_of(ask)?;
        let is_new = self.types.len() != known;
        let Some(frame) = self.frames.last() else { return Err(nobody()) };
        let (mut offset, mut plain) = (frame.offset, frame.plain);
        let Some(slot) = self.slot() else { return Err(nobody()) };
        offset += slot.tried;
        plain |= slot.plain;
        match slot.node {
            None => {
                slot.node = Some(id);
                self.progress += 1;
            }
            Some(known) if known != id && !std::mem::replace(&mut slot.varies, true) => {
                self.progress += 1;
                if !self.is_opaque(known) && !self.is_opaque(id) {
                    self.problems.add(names::varying(&self.context()));
                }
            }
            Some(_) if slot.varies && is_new => self.variations += 1,
            Some(_) => {}
        }
        if self.frames.len() > DEPTH {
            self.hopeless = true;
            return Err(Fault::malformed("a value without end"));
        }
        if let State::Leaf(_) = self.types[id as usize].state {
            return Ok(self.leaf(ask, offset, plain));
        }
        self.plan();
        let (inside, current, feed) = self.container(id);
        if let Some(inside) = inside {
            self.frames.push(Frame { node: id, inside, current, offset, plain, begun: false, counts: true });
            self.types[id as usize].busy += 1;
        }
        Ok(feed)
    }

    fn leaf(&mut self, ask: &Ask, offset: u32, plain: bool) -> Feed<'static> {
        let name = candidates::leaf(ask.kind).map_or("any", |(name, _)| name);
        let choice = offset + self.refused.get(&(name, ask.visitor())).copied().unwrap_or(0);
        self.last = Last::Leaf { kind: ask.kind, name, visitor: ask.visitor() };
        let zero = self.probing && !plain && choice == 0 && candidates::count(ask.kind) > 1;
        candidates::feed(ask.kind, if zero { 1 } else { choice })
    }

    /// What to feed to a type with parts. Without an inside it is nothing.
    fn container(&mut self, id: Id) -> (Option<Inside>, Option<Place>, Feed<'static>) {
        let again = self.types[id as usize].busy > 0;
        match &self.types[id as usize].state {
            State::Leaf(_) => (None, None, Feed::Unit),
            State::Option(slot) if !again && self.wants(slot) => {
                self.ventures.push(Venture::Part(id, Place::One));
                (Some(Inside::One), Some(Place::One), Feed::Some)
            }
            State::Option(_) => (None, None, Feed::None),
            State::Newtype(..) => (Some(Inside::One), Some(Place::One), Feed::Newtype),
            State::Seq(slot) => {
                let length = usize::from(!again && self.wants(slot));
                if length > 0 {
                    self.ventures.push(Venture::Part(id, Place::One));
                }
                (Some(Inside::Sequence { at: 0, length, of: Elements::List }), None, Feed::Seq)
            }
            State::Map(key, value) => {
                let place = if self.wants(key) { Place::Key } else { Place::Value };
                let left = usize::from(!again && !key.dead && !value.dead && (self.wants(key) || self.wants(value)));
                if left > 0 {
                    self.ventures.push(Venture::Part(id, place));
                }
                (Some(Inside::Entries { left }), None, Feed::Map)
            }
            State::Tuple(_, slots) => (Some(Inside::Sequence { at: 0, length: slots.len(), of: Elements::Tuple }), None, Feed::Seq),
            State::Struct(_, fields) if fields.by_position => {
                let places: Vec<usize> = fields.real().collect();
                (Some(Inside::Sequence { at: 0, length: places.len(), of: Elements::Fields(places) }), None, Feed::Seq)
            }
            State::Struct(_, fields) => {
                let keys = self.keys(fields, None, again);
                self.venture_keys(id, &keys);
                (Some(Inside::Fields(keys)), None, Feed::Map)
            }
            State::Enum(_, variants) => {
                let (pick, venture) = self.pick(id, variants);
                self.ventures.extend(venture);
                if let Pick::Known(variant) = pick {
                    self.picks.push((id, variant));
                }
                (Some(Inside::Variant { pick, named: false }), None, Feed::Enum)
            }
        }
    }

    fn venture_keys(&mut self, id: Id, keys: &Keys) {
        if !keys.omitted.is_empty() || keys.unknown {
            self.ventures.push(Venture::Names(id, keys.variant));
        }
    }

    /// Which keys to give, and in which order: what has failed comes last, so that it hides nothing.
    fn keys(&self, fields: &FieldsState, variant: Option<usize>, again: bool) -> Keys {
        let probing = self.probing && !fields.settled && !again;
        let mut order = Vec::new();
        let mut omitted = Vec::new();
        for place in fields.real() {
            let field = &fields.list[place];
            match field.optional {
                None if probing && (omitted.is_empty() || !fields.one_by_one) => omitted.push(place),
                Some(true) if field.slot.dead || (self.probing && !self.wants(&field.slot)) => {}
                _ => order.push(place),
            }
        }
        order.sort_by_key(|place| {
            let field = &fields.list[*place];
            (!field.first, field.slot.dead, field.slot.failed)
        });
        let unknown = probing && fields.strict.is_none();
        Keys { variant, order, at: 0, omitted, unknown, state: KeyState::Begin }
    }

    /// Which variant to give: one that was not seen, else one that holds something that was not seen, else the smallest.
    fn pick(&self, id: Id, variants: &EnumState) -> (Pick, Option<Venture>) {
        let busy = self.types[id as usize].busy;
        if self.probing && busy == 0 && variants.other.is_none() && !variants.settled {
            return (Pick::Unknown, Some(Venture::Unknown(id)));
        }
        let depth = |place: &usize| self.plan.variant_depth(&variants.list[*place]);
        let smallest = (0..variants.list.len()).filter(|place| depth(place) != NEVER).min_by_key(depth);
        let new = |place: &usize| {
            let variant = &variants.list[*place];
            variant.is_real() && variant.shape.is_none() && !variant.settled
        };
        let unseen = |place: &usize| {
            let variant = &variants.list[*place];
            self.plan.is_variant_unseen(variant, self.probing)
                && (variant.slots().into_iter().any(|slot| self.wants(slot))
                    || matches!(&variant.shape, Some(ShapeState::Struct(fields)) if self.probing && fields.is_unsettled()))
        };
        let venture = (0..variants.list.len())
            .find(|place| new(place) && (busy < NESTED || smallest.is_none()))
            .or_else(|| (0..variants.list.len()).find(|place| busy == 0 && unseen(place)));
        match (venture, smallest) {
            (Some(place), _) => (Pick::Known(place), Some(Venture::Variant(id, place))),
            (None, Some(place)) => (Pick::Known(place), None),
            (None, None) => (Pick::Known(variants.list.iter().position(super::state::VariantState::is_real).unwrap_or(0)), None),
        }
    }

    /// A name for whoever asks for one.
    fn name(&mut self, ask: &Ask, name: &'static str, number: usize) -> Feed<'static> {
        self.last = Last::Name;
        self.shows = ask.value().contains("::");
        match ask.kind {
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Feed::Unsigned(number as u64),
            Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => Feed::Signed(number as i64),
            Kind::Bytes => Feed::Bytes(name.as_bytes()),
            _ => Feed::Str(name),
        }
    }

    fn field_name(&self, place: usize) -> &'static str {
        let Some(frame) = self.frames.last() else { return UNKNOWN };
        match (self.types.get(frame.node as usize).map(|one| &one.state), frame.current) {
            (Some(State::Struct(_, fields)), _) => fields.list.get(place).map_or(UNKNOWN, |field| field.name),
            (Some(State::Enum(_, variants)), _) => {
                let Inside::Fields(Keys { variant: Some(variant), .. }) = frame.inside else { return UNKNOWN };
                match variants.list.get(variant).map(|variant| &variant.shape) {
                    Some(Some(ShapeState::Struct(fields))) => fields.list.get(place).map_or(UNKNOWN, |field| field.name),
                    _ => UNKNOWN,
                }
            }
            _ => UNKNOWN,
        }
    }

    /// The parts of a variant whose name was read.
    fn content(&mut self, ask: &Ask, id: Id, place: usize) -> Result<Feed<'static>, Fault> {
        let shape = match ask.kind {
            Kind::TupleVariant(length) if length <= LONGEST => ShapeState::Tuple(vec![Slot::default(); length]),
            Kind::StructVariant(names) => ShapeState::Struct(FieldsState::new(names)),
            _ => return Err(nobody()),
        };
        self.learn_shape(id, place, shape);
        self.plan();
        let (offset, plain) = self.frames.last().map_or((0, false), |frame| (frame.offset, frame.plain));
        let again = self.types[id as usize].busy > 1;
        let State::Enum(_, variants) = &self.types[id as usize].state else { return Err(nobody()) };
        let (inside, feed) = match &variants.list[place].shape {
            Some(ShapeState::Tuple(slots)) => (Inside::Sequence { at: 0, length: slots.len(), of: Elements::Variant(place) }, Feed::Seq),
            Some(ShapeState::Struct(fields)) => (Inside::Fields(self.keys(fields, Some(place), again)), Feed::Map),
            _ => return Err(nobody()),
        };
        if let Inside::Fields(keys) = &inside
            && (!keys.omitted.is_empty() || keys.unknown)
        {
            self.ventures.push(Venture::Names(id, Some(place)));
        }
        self.frames.push(Frame { node: id, inside, current: None, offset, plain, begun: false, counts: false });
        Ok(feed)
    }

    fn learn_shape(&mut self, id: Id, place: usize, shape: ShapeState) {
        if let Some(variant) = self.types[id as usize].variants().and_then(|variants| variants.list.get_mut(place))
            && variant.shape.is_none()
        {
            variant.shape = Some(shape);
            self.progress += 1;
        }
    }

    /// A visitor refuses what it was fed, which had no parts.
    fn refused(&mut self) {
        match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Nothing => {}
            Last::Name => {
                self.refused_name();
                self.learned();
            }
            // Zeros and empty values are not candidates; the slot will do without.
            Last::Leaf { .. } if self.probing => {}
            Last::Leaf { kind, name, visitor } => {
                let refused = self.refused.entry((name, visitor)).or_default();
                if *refused < candidates::count(kind) {
                    *refused += 1;
                    self.fate = Fate::Blamed;
                    self.progress += 1;
                }
            }
        }
    }

    fn refused_name(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        let node = frame.node as usize;
        match &frame.inside {
            Inside::Fields(keys) if keys.state == KeyState::UnknownName => self.learn_strict(true),
            Inside::Fields(Keys { state: KeyState::Name(place), variant, .. }) => {
                let (place, variant) = (*place, *variant);
                if let Some(field) = self.types[node].fields(variant).and_then(|fields| fields.list.get_mut(place)) {
                    field.refused = true;
                }
            }
            Inside::Variant { pick, named: false } => {
                let pick = *pick;
                if let Some(variants) = self.types[node].variants() {
                    match pick {
                        Pick::Unknown => variants.other = Some(None),
                        Pick::Known(place) => {
                            if let Some(variant) = variants.list.get_mut(place) {
                                variant.refused = true;
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn learned(&mut self) {
        self.fate = Fate::Learned;
        self.progress += 1;
    }

    /// What the fault of a struct tells of its names. False: nothing.
    fn learn_from_fields(&mut self, frame: &Frame, keys: &Keys, fault: &Fault) -> bool {
        let Some(fields) = self.types[frame.node as usize].fields(keys.variant) else { return false };
        match (fault.problem(), keys.state) {
            // The key that was just given and one before it are names of one field, whose own name this is.
            (Problem::Duplicate(name), KeyState::Name(given)) => match fields.position(name) {
                Some(own) if own != given => fields.list[given].alias_of = Some(own),
                Some(own) if !fields.list[own].first => fields.list[own].first = true,
                Some(_) => return false,
                None => fields.list[given].refused = true,
            },
            (problem, KeyState::Over) if !keys.omitted.is_empty() => {
                let missing = match problem {
                    Problem::Missing(name) => fields.position(name).filter(|place| keys.omitted.contains(place)),
                    _ => None,
                };
                match (missing, keys.omitted.as_slice()) {
                    (Some(place), _) | (None, &[place]) => fields.list[place].optional = Some(false),
                    (None, _) => fields.one_by_one = true,
                }
            }
            _ => return false,
        }
        true
    }

    /// Gives something else next time to the part that this frame was at. A frame that was at none did not like the whole of it,
    /// so whoever holds it is to blame.
    fn blame(&mut self, frame: &Frame) {
        let (hopeless, probing, at_end) = (self.hopeless, self.probing, frame.is_at_end());
        let first = self.fate == Fate::Open;
        let Some(slot) = self.slot_of(frame) else { return };
        slot.failed = true;
        if !first {
            return;
        }
        let (fate, progress) = if hopeless {
            let news = !std::mem::replace(&mut slot.dead, true);
            self.hopeless = false;
            (Fate::Blamed, news)
        } else if probing {
            // Those further out are next, so that as few as possible do without zeros.
            if std::mem::replace(&mut slot.plain, true) { (Fate::Open, false) } else { (Fate::Blamed, true) }
        } else if slot.dead {
            (if at_end { Fate::Open } else { Fate::Blamed }, false)
        } else {
            slot.tried += 1;
            slot.dead = slot.tried > candidates::MOST;
            (Fate::Blamed, true)
        };
        self.fate = fate;
        self.progress += u64::from(progress);
    }
}

impl Source<'static> for Tracer {
    fn root(&mut self, name: &'static str) {
        self.root_name = name;
    }

    fn ask(&mut self, ask: &Ask) -> Result<Feed<'static>, Fault> {
        self.fate = Fate::Open;
        self.last = Last::Nothing;
        let Some(frame) = self.frames.last_mut() else { return Err(nobody()) };
        frame.begun = true;
        let node = frame.node;
        match &frame.inside {
            Inside::Fields(Keys { state: KeyState::Name(place), .. }) => {
                let place = *place;
                let name = self.field_name(place);
                Ok(self.name(ask, name, place))
            }
            Inside::Fields(Keys { state: KeyState::UnknownName, .. }) => Ok(self.name(ask, UNKNOWN, usize::MAX)),
            Inside::Fields(Keys { state: KeyState::UnknownValue, .. }) => Ok(Feed::Unit),
            Inside::Variant { pick: Pick::Unknown, named: false } => Ok(self.name(ask, UNKNOWN, usize::MAX)),
            Inside::Variant { pick: Pick::Known(place), named: false } => {
                let place = *place;
                let State::Enum(_, variants) = &self.types[node as usize].state else { return Err(nobody()) };
                let Some(variant) = variants.list.get(place) else {
                    self.hopeless = true;
                    return Err(Fault::malformed("an enum without variants"));
                };
                let (name, number) = (variant.name, variants.number(place));
                Ok(self.name(ask, name, number))
            }
            Inside::Variant { pick: Pick::Known(place), named: true } if frame.current.is_none() => {
                let place = *place;
                self.content(ask, node, place)
            }
            _ => self.value(ask),
        }
    }

    fn next(&mut self, part: Part, _size: usize) -> Result<bool, Fault> {
        self.fate = Fate::Open;
        self.part_succeeded();
        let Some(frame) = self.frames.last_mut() else { return Err(nobody()) };
        frame.begun = true;
        if part == Part::Value {
            frame.advance_to_value();
            return Ok(true);
        }
        Ok(frame.advance())
    }

    fn hint(&self) -> Option<usize> {
        None
    }

    fn variant(&mut self, same: Option<&dyn Fn() -> u64>) -> Result<(), Fault> {
        let same = same.filter(|_| self.shows).map(|same| same());
        let Some(Frame { node, inside: Inside::Variant { pick, named }, .. }) = self.frames.last_mut() else { return Err(nobody()) };
        *named = true;
        let Some(variants) = self.types[*node as usize].variants() else { return Err(nobody()) };
        let twin = variants.list.iter().position(|variant| same.is_some() && variant.same == same);
        match *pick {
            Pick::Unknown => {
                variants.other = Some(twin);
                self.progress += 1;
                let Some(twin) = twin else {
                    self.learned();
                    return Err(Fault::malformed("it takes any name, and does not show for what"));
                };
                *pick = Pick::Known(twin);
            }
            Pick::Known(place) => match twin {
                Some(twin) if twin != place => {
                    variants.list[place].alias_of = Some(twin);
                    self.learned();
                    return Err(Fault::malformed("another name of a variant that is known"));
                }
                _ => variants.list[place].same = same,
            },
        }
        Ok(())
    }

    fn payload(&mut self, one: bool) -> Result<(), Fault> {
        let Some(Frame { node, inside: Inside::Variant { pick: Pick::Known(place), .. }, current, .. }) = self.frames.last_mut() else {
            return Err(nobody());
        };
        let (node, place) = (*node, *place);
        if one {
            *current = Some(Place::Variant(place, 0));
        }
        self.learn_shape(node, place, if one { ShapeState::Newtype(Slot::default()) } else { ShapeState::Unit });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.part_succeeded();
        let Some(frame) = self.frames.pop() else { return Err(nobody()) };
        if frame.counts {
            self.types[frame.node as usize].busy -= 1;
        }
        if let Inside::Fields(keys) = &frame.inside
            && keys.state == KeyState::Over
            && let Some(fields) = self.types[frame.node as usize].fields(keys.variant)
        {
            for place in &keys.omitted {
                fields.list[*place].optional = Some(true);
                self.progress += 1;
            }
        }
        Ok(())
    }

    fn failed(&mut self, fault: &mut Fault, container: bool) {
        if !container {
            return self.refused();
        }
        let Some(frame) = self.frames.pop() else { return };
        if frame.counts {
            self.types[frame.node as usize].busy -= 1;
        }
        if self.fate == Fate::Learned {
            return;
        }
        if self.fate == Fate::Open && !frame.begun {
            let fields = self.types[frame.node as usize].fields(None);
            if let (Inside::Fields(Keys { variant: None, .. }), Some(fields)) = (&frame.inside, fields) {
                fields.by_position = true;
                return self.learned();
            }
            // It never looked inside: no value would please it.
            self.hopeless = true;
        }
        if let Inside::Fields(keys) = &frame.inside
            && self.fate == Fate::Open
            && self.learn_from_fields(&frame, keys, fault)
        {
            return self.learned();
        }
        self.blame(&frame);
    }
}

#[cold]
fn nobody() -> Fault {
    Fault::malformed("a question that is nobody's")
}
