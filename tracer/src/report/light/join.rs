//! Lines to facts: what the chain builder does, without keeping what the grouping does not need.

use std::collections::HashMap;

use super::{
    line::{Line, Type},
    scan::Malformed,
};
use crate::{
    chain::ChainKey,
    event::{RequestId, Status},
    report::{
        cells::{Fact, WhoIds},
        facts::{Arrived, End, Tried, init_status},
        names::{NameId, Names},
        who::Who,
    },
};

/// Requests and loaders that may be open at a time, before the oldest are handed out as they are.
const OPEN_LIMIT: usize = 65_536;

/// Joins the events of one stream.
#[derive(Debug)]
pub(crate) struct Join {
    open: HashMap<ChainKey, Open>,
    begun: u64,
    limit: usize,
}

/// A request or loader that has not ended.
#[derive(Debug)]
struct Open {
    /// They count up in order of their beginning.
    number: u64,
    end: End,
    /// When the root it hangs under was asked for.
    root_time_ns: i64,
    is_root: bool,
    /// Modules whose init has ended, by their place.
    inits: Vec<bool>,
}

/// A fact, and when the root of its chain was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) fact: Fact,
    pub(crate) root_time_ns: i64,
}

impl Default for Join {
    fn default() -> Self {
        Self::with_limit(OPEN_LIMIT)
    }
}

impl Join {
    /// At most `limit` at a time.
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { open: HashMap::new(), begun: 0, limit: limit.max(1) }
    }

    /// Takes an event, and hands out what ended with it.
    pub(crate) fn push(
        &mut self,
        kind: Type,
        line: &Line<'_>,
        host: NameId,
        names: &mut Names,
        take: &mut dyn FnMut(Found),
    ) -> Result<(), Malformed> {
        match kind {
            Type::Request => self.request(line, host, names)?,
            Type::Load => self.load(line, host, names)?,
            Type::Init => self.init(line, host, names)?,
            Type::Attempt => self.attempt(line, host, names)?,
            Type::Result => self.result(line, host, names, take)?,
            Type::Helper => {
                if let Some(id) = line.request()? {
                    self.own(ChainKey::Request(id), line, host, names)?;
                }
            }
            Type::Quiet | Type::Other => {}
        }
        if self.open.len() > self.limit {
            self.make_room(take);
        }
        Ok(())
    }

    /// Ends the stream: hands out all that is left, oldest first.
    pub(crate) fn finish(&mut self, take: &mut dyn FnMut(Found)) {
        let mut rest: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        rest.sort_unstable_by_key(|open| open.number);
        rest.iter().for_each(|open| open.hand_out(take));
    }

    fn make_room(&mut self, take: &mut dyn FnMut(Found)) {
        let mut numbers: Vec<u64> = self.open.values().map(|open| open.number).collect();
        numbers.sort_unstable();
        let Some(border) = numbers.get(self.limit / 8).copied() else { return };
        let oldest = self.open.extract_if(|_, open| open.number <= border).map(|(_, open)| open);
        let mut oldest: Vec<Open> = oldest.collect();
        oldest.sort_unstable_by_key(|open| open.number);
        oldest.iter().for_each(|open| open.hand_out(take));
    }

    /// The open request or loader of a key, begun if there is none.
    fn own(&mut self, key: ChainKey, line: &Line<'_>, host: NameId, names: &mut Names) -> Result<&mut Open, Malformed> {
        match self.open.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let (time_ns, is_request) = match key {
                    ChainKey::Request(id) => (moved(line, id)?, true),
                    ChainKey::Loader(_) => (line.time_ns()?, false),
                };
                self.begun += 1;
                let end = End {
                    time_ns,
                    who: WhoIds::new(&Who::UNSEEN, names),
                    host,
                    alias: None,
                    is_request,
                    status: Status::Unknown,
                    blocked_ns: None,
                    modules: Vec::new(),
                    attempts: Vec::new(),
                    attempts_made: 0,
                };
                let open = Open { number: self.begun, end, root_time_ns: time_ns, is_root: true, inits: Vec::new() };
                Ok(entry.insert(open))
            }
        }
    }

    fn request(&mut self, line: &Line<'_>, host: NameId, names: &mut Names) -> Result<(), Malformed> {
        let Some(id) = line.request()? else { return Ok(()) };
        let above = line.parent()?.filter(|parent| *parent != ChainKey::Request(id));
        let above = above.and_then(|parent| self.open.get(&parent)).map(|root| (root.end.who, root.root_time_ns));
        let (alias, time_ns) = (names.id(&line.name()?), line.time_ns()?);
        let who = match above {
            Some((who, _)) => who,
            None => WhoIds::new(&line.who()?, names),
        };
        let open = self.own(ChainKey::Request(id), line, host, names)?;
        open.end.who = who;
        open.end.alias = Some(alias);
        open.end.time_ns = time_ns;
        open.is_root = above.is_none();
        open.root_time_ns = above.map_or(time_ns, |(_, root_time_ns)| root_time_ns);
        Ok(())
    }

    fn load(&mut self, line: &Line<'_>, host: NameId, names: &mut Names) -> Result<(), Malformed> {
        let key = line.key()?.ok_or(Malformed)?;
        let module = names.id(&line.module()?.ok_or(Malformed)?);
        let arrived = Arrived { name: module, status: init_status(None), reason: line.reason()? };
        let who = self.loader(key, line, names, |end| end.modules.is_empty())?;
        let open = self.own(key, line, host, names)?;
        open.end.who = who.unwrap_or(open.end.who);
        open.end.modules.push(arrived);
        open.inits.push(false);
        Ok(())
    }

    /// Who is behind a loader, when this line is the one that decides.
    fn loader(
        &self,
        key: ChainKey,
        line: &Line<'_>,
        names: &mut Names,
        decides: impl Fn(&End) -> bool,
    ) -> Result<Option<WhoIds>, Malformed> {
        if matches!(key, ChainKey::Request(_)) || !self.open.get(&key).is_none_or(|open| decides(&open.end)) {
            return Ok(None);
        }
        let who = if line.is_by_helper()? { line.who_kernel()? } else { line.who()? };
        Ok(Some(WhoIds::new(&who, names)))
    }

    fn init(&mut self, line: &Line<'_>, host: NameId, names: &mut Names) -> Result<(), Malformed> {
        let key = line.key()?.ok_or(Malformed)?;
        let (module, ret) = (names.id(&line.module()?.ok_or(Malformed)?), line.ret()?);
        let open = self.own(key, line, host, names)?;
        let arrived = open.end.modules.iter_mut().zip(&mut open.inits).rev();
        if let Some((arrived, ended)) = arrived.into_iter().find(|(arrived, ended)| arrived.name == module && !**ended)
        {
            arrived.status = init_status(Some(ret));
            *ended = true;
        }
        Ok(())
    }

    fn attempt(&mut self, line: &Line<'_>, host: NameId, names: &mut Names) -> Result<(), Malformed> {
        let (key, syscall) = (line.key()?.ok_or(Malformed)?, line.syscall()?);
        // A failed unload is a story of its own.
        if matches!(key, ChainKey::Loader(_)) && *syscall == *b"delete_module" {
            return Ok(());
        }
        let who = self.loader(key, line, names, |end| end.modules.is_empty() && end.attempts_made == 0)?;
        let (module, file) = (line.module()?, line.file()?);
        let tried = Tried::new(&syscall, line.ret()?, module.as_deref(), file.as_deref(), names);
        let open = self.own(key, line, host, names)?;
        open.end.who = who.unwrap_or(open.end.who);
        open.end.attempts_made += 1;
        open.end.attempts.extend(tried);
        Ok(())
    }

    fn result(
        &mut self,
        line: &Line<'_>,
        host: NameId,
        names: &mut Names,
        take: &mut dyn FnMut(Found),
    ) -> Result<(), Malformed> {
        let Some(key) = line.key()? else { return Ok(()) };
        let (status, duration_ns) = (line.status()?, line.duration_ns()?);
        self.own(key, line, host, names)?;
        if let Some(mut open) = self.open.remove(&key) {
            open.end.status = status;
            open.end.blocked_ns = duration_ns.filter(|_| open.is_root);
            open.hand_out(take);
        }
        Ok(())
    }
}

impl Open {
    fn hand_out(&self, take: &mut dyn FnMut(Found)) {
        self.end.facts(&mut |fact| take(Found { fact, root_time_ns: self.root_time_ns }));
    }
}

/// When a request was asked, by its id: the same clock at another time since boot.
fn moved(line: &Line<'_>, id: RequestId) -> Result<i64, Malformed> {
    let by_ns = i128::from(id.boot_ns) - i128::from(line.boot_ns()?);
    let time_ns = line.time_ns()?;
    Ok(i64::try_from(by_ns).ok().and_then(|by_ns| time_ns.checked_add(by_ns)).unwrap_or(time_ns))
}
