//! What is judged: each module that arrived, and each request that loaded nothing.

use super::{
    field::{Facts, Field},
    load::{INITIAL, OTHER},
    value::Value,
};
use crate::{
    chain::{Cause, Chain, ChainKey, Module},
    event::{Origin, Process, Status, Text},
    select,
};

/// Inode of the first user namespace: `PROC_USER_INIT_INO`, include/linux/proc_ns.h.
const FIRST_USER_NAMESPACE: u32 = 0xefff_fffd;

/// A module that arrived, or a request that loaded nothing.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The chain it is a part of.
    pub root: &'a Chain,
    /// The request or loader.
    pub link: &'a Chain,
    /// The module; absent for a request that loaded nothing.
    pub module: Option<&'a Module>,
}

impl<'a> Subject<'a> {
    /// Hands over all of a chain, nested ones included.
    pub fn each(root: &'a Chain, take: &mut dyn FnMut(Self)) {
        Self::walk(root, root, take);
    }

    fn walk(root: &'a Chain, link: &'a Chain, take: &mut dyn FnMut(Self)) {
        for module in &link.modules {
            take(Self { root, link, module: Some(module) });
        }
        if link.modules.is_empty() && matches!(link.key, ChainKey::Request(_)) {
            take(Self { root, link, module: None });
        }
        for nested in &link.nested {
            Self::walk(root, nested, take);
        }
    }

    /// How it ended: a module by its own init, a request by its result.
    #[must_use]
    pub fn status(&self) -> Status {
        let result = self.link.result.as_ref().map_or(Status::Unknown, |result| result.status);
        match self.module.map(|module| module.init.as_ref()) {
            Some(Some(init)) if init.ret < 0 => Status::Failed,
            Some(Some(_)) => Status::Loaded,
            // Its init was not seen to end: whoever loaded it knows.
            Some(None) => {
                if result == Status::Loaded {
                    Status::Loaded
                } else {
                    Status::Unknown
                }
            }
            None => result,
        }
    }

    /// What made it load.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match (self.module, self.link.key) {
            (Some(module), _) => module.load.origin,
            (None, ChainKey::Request(_)) => Origin::Request,
            (None, ChainKey::Loader(_)) => Origin::Unknown,
        }
    }

    /// The process that asked, or loaded by itself; of what is nested, the one that began it all.
    #[must_use]
    pub fn process(&self) -> Option<&'a Process> {
        let asked = self.root.request.as_ref().map(|request| &request.process);
        let loaded = self.root.modules.first().map(|module| &module.load.process);
        asked.or(loaded)
    }

    /// The values that rules are compared with.
    pub(super) fn facts(&self) -> Facts {
        let cause = Cause::of(self.root);
        // The helper that the kernel started says nothing of who asked.
        let process = self.process().filter(|_| !matches!(cause, Cause::Kernel(_) | Cause::Unseen));
        // What is known of the task behind a kernel thread is its name.
        let own = process.filter(|_| !matches!(cause, Cause::Through { .. }));
        let known = |field: select::Field, is_known: bool| {
            let values = if process.is_some() { self.values(field) } else { Vec::new() };
            if is_known { Value::all(values) } else { Value::at_least(values) }
        };
        let has_cgroup = own.is_some_and(|own| own.cgroup.is_some());
        let has_exe = own.is_some_and(|own| own.kthread || (own.exe.is_some() && !own.exe_truncated));
        let user = own.and_then(|own| own.user.clone());
        Facts::default()
            .with(
                Field::Module,
                self.module.map_or_else(Value::default, |module| Value::is(module.load.module.clone())),
            )
            .with(Field::Alias, self.of_request(select::Field::Alias))
            .with(Field::Family, self.of_request(select::Field::Family))
            .with(Field::Result, known_name(self.status().name(), self.status() != Status::Unknown))
            .with(Field::Origin, known_name(self.origin().name(), self.origin() != Origin::Unknown))
            .with(Field::Uid, Value::known(own.map(|own| own.uid.to_string())))
            .with(Field::User, Value::known(user))
            .with(Field::Exe, known(select::Field::Exe, has_exe))
            .with(Field::Comm, known(select::Field::Comm, process.is_some()))
            .with(Field::Cgroup, known(select::Field::Cgroup, has_cgroup))
            .with(Field::Unit, known(select::Field::Unit, has_cgroup))
            .with(Field::Container, known(select::Field::Container, has_cgroup))
            .with(Field::UserNamespace, Value::known(own.and_then(user_namespace)))
    }

    fn of_request(&self, field: select::Field) -> Value {
        let is_known = self.link.request.is_some() || matches!(self.link.key, ChainKey::Loader(_));
        if is_known { Value::all(self.values(field)) } else { Value::at_least(Vec::new()) }
    }

    fn values(&self, field: select::Field) -> Vec<Text> {
        let mut values = Vec::new();
        let subject = select::Subject::Link { root: self.root, link: self.link };
        subject.values(field, &mut |value| values.push(Text::from(value)));
        values
    }
}

fn known_name(name: &str, is_known: bool) -> Value {
    Value::known(is_known.then_some(name))
}

fn user_namespace(process: &Process) -> Option<&'static str> {
    match process.ns.user {
        0 => None,
        FIRST_USER_NAMESPACE => Some(INITIAL),
        _ => Some(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_USER_NAMESPACE, Field, Status, Subject, Value};
    use crate::{
        chain::{Chain, Item, samples},
        event::Text,
    };

    fn chain(item: Item) -> Chain {
        match item {
            Item::Chain(chain) => *chain,
            Item::Event(_) => unreachable!("it is a chain"),
        }
    }

    /// Check that dependencies, nested loads and requests without a module are each a subject, with the one
    /// who began it all behind them.
    #[test]
    fn everything_is_judged_once() {
        let nested = chain(samples::nested());
        let mut seen = Vec::new();
        Subject::each(&nested, &mut |subject| {
            let module = subject.module.map_or("-".to_owned(), |module| module.load.module.field());
            let comm = subject.facts().get(Field::Comm).clone();
            seen.push((module, subject.status()));
            assert_eq!(comm, Value::is("cryptsetup"));
        });
        let wanted = [
            ("dm_crypt", Status::Loaded),
            ("dm_broken", Status::Failed),
            ("aesni_intel", Status::Loaded),
            ("-", Status::NotFound),
        ];
        assert_eq!(seen, wanted.map(|(module, status)| (module.to_owned(), status)));
    }

    /// Check that what was not seen is open, and what cannot be is none.
    #[test]
    fn gaps_are_told_from_nothing() {
        let mut outage = chain(samples::outage());
        let facts = |chain: &Chain| Subject { root: chain, link: chain, module: chain.modules.first() }.facts();
        let open = Value::known(None::<Text>);
        assert_eq!(facts(&outage).get(Field::UserNamespace), &open);
        assert_eq!(facts(&outage).get(Field::Unit), &open);
        let process = &mut outage.request.as_mut().unwrap().process;
        process.cgroup = Some(Text::from("/user.slice"));
        process.ns.user = FIRST_USER_NAMESPACE;
        assert_eq!(facts(&outage).get(Field::UserNamespace), &Value::is("initial"));
        assert_eq!(facts(&outage).get(Field::Unit), &Value::default());
        outage.request = None;
        assert_eq!(facts(&outage).get(Field::Alias), &open);
        assert_eq!(facts(&outage).get(Field::Comm), &open);
        assert_eq!(facts(&chain(samples::by_hand())).get(Field::Alias), &Value::default());
    }
}
