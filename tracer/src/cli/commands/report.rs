//! `kmodtrace report`: shows which process loaded which module, when and why, from captures, without privileges.

mod args;
mod input;

use std::{
    cell::RefCell,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    rc::Rc,
};

use anyhow::{Context, bail};

pub(in crate::cli) use args::Args;
use args::{Form, is_stdin};

use crate::{
    cli::{
        args::time::Times,
        io::{capture_in::or_service, output_files::OutputFiles},
    },
    logging::notice,
    output::{Lines, Style, Tree, escape_str},
    report::{
        Engine, Late, Ordered, ReportData, ReportQuery, ReportSink, Sections, View, csv, html::Html, json,
        perfetto::Perfetto, table,
    },
    stream::Consumer,
};

/// Size of the output buffer.
const BUFFER_BYTES: usize = 1 << 16;

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let form = args.form();
    if args.top.is_some() && !matches!(form, Form::Table | Form::CsvRows | Form::JsonRows) {
        bail!("cannot use --top: the output is not a table; add --by or omit --top");
    }
    let query = query(args)?;
    let files = or_service(&args.files)?;
    // With --follow, a reader may follow the output file.
    let mut outputs = if args.follow { OutputFiles::live(&files)? } else { OutputFiles::new(&files)? };
    let (target, style) = Target::open(args, form, &mut outputs)?;
    let has_several = files.len() > 1 || files.iter().any(|path| path.is_dir());
    let mut late = Vec::new();
    let mut engine = Engine::new(query, sinks(args, form, has_several, &target, style, &mut outputs, &mut late)?);
    let captures = match input::read(args, &files, &mut engine) {
        Err(error) if is_closed_pipe(&error) => return Ok(ExitCode::SUCCESS),
        result => result?,
    };
    if let Some(file) = captures.without_events() {
        bail!("cannot read {}: not a capture: none of its lines is an event", escape_str(&file));
    }
    if captures.events() == 0 {
        captures.require_complete("report")?;
    }
    let data = engine.data();
    match write_table(args, form, &data, style, &target) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        result => result.context("cannot write the report")?,
    }
    outputs.keep()?;
    captures.warn();
    engine.undecided().sentence().into_iter().for_each(|sentence| notice(&format!("warning: {sentence}")));
    late.iter().filter_map(Late::sentence).for_each(|sentence| notice(&sentence));
    Ok(ExitCode::SUCCESS)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The query, with absolute times.
fn query(args: &Args) -> anyhow::Result<ReportQuery> {
    let times = Times::new(args.utc)?;
    let time = |name: &str, text: &Option<String>| times.ns(name, text.as_deref());
    let (since_ns, until_ns) = (time("since", &args.since)?, time("until", &args.until)?);
    if let (Some(since_ns), Some(until_ns), Some(since), Some(until)) = (since_ns, until_ns, &args.since, &args.until)
        && since_ns >= until_ns
    {
        bail!("invalid --since {since:?}: expected a time before --until {until:?}");
    }
    Ok(ReportQuery {
        selector: args.select.selector(),
        since_ns,
        until_ns,
        new_since_ns: time("new-since", &args.new_since)?,
    })
}

/// The destination of the report, shared by several writers in order.
#[derive(Clone)]
struct Target {
    writer: Rc<RefCell<BufWriter<Box<dyn Write>>>>,
    /// Each flush reaches the reader immediately.
    is_live: bool,
}

impl Target {
    fn open(args: &Args, form: Form, outputs: &mut OutputFiles) -> anyhow::Result<(Self, Style)> {
        let (writer, is_terminal): (Box<dyn Write>, bool) = match args.output.as_deref() {
            Some(path) if !is_stdin(path) => (outputs.open(path)?, false),
            // Only files were requested.
            None if form == Form::None => (Box::new(io::sink()), false),
            _ => (Box::new(outputs.stdout()?), io::stdout().is_terminal()),
        };
        let writer = Rc::new(RefCell::new(BufWriter::with_capacity(BUFFER_BYTES, writer)));
        Ok((Self { writer, is_live: args.follow || is_terminal }, args.style(is_terminal)))
    }

    fn writer(&self) -> Box<dyn Write> {
        Box::new(self.clone())
    }

    /// Flushes the buffer.
    fn end(&self) -> io::Result<()> {
        self.writer.borrow_mut().flush()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_live { self.end() } else { Ok(()) }
    }
}

/// Outputs that receive each chain when it ends.
fn sinks(
    args: &Args,
    form: Form,
    has_several: bool,
    target: &Target,
    style: Style,
    outputs: &mut OutputFiles,
    late: &mut Vec<Late>,
) -> anyhow::Result<Vec<Box<dyn ReportSink>>> {
    let mut sinks: Vec<Box<dyn ReportSink>> = Vec::new();
    let human = |output: Box<dyn Consumer>| Box::new(Sections::new(output, target.writer(), style));
    let stream: Option<Box<dyn ReportSink>> = match form {
        Form::Tree => Some(human(Box::new(Tree::new(target.writer(), style)))),
        Form::Lines => Some(human(Box::new(Lines::new(target.writer(), style)))),
        Form::JsonChains => Some(Box::new(json::Chains::new(target.writer()))),
        Form::CsvRecords => Some(Box::new(csv::Records::new(target.writer()))),
        Form::Table | Form::JsonRows | Form::CsvRows | Form::None => None,
    };
    // Followed chains are shown when they end, others by time.
    if args.follow {
        sinks.extend(stream);
    } else if let Some(stream) = stream {
        let ordered = if has_several { Ordered::merged(stream) } else { Ordered::new(stream) };
        late.push(ordered.late());
        sinks.push(Box::new(ordered));
    }
    let mut file =
        |path: &Path| -> anyhow::Result<Box<dyn Write>> { Ok(Box::new(BufWriter::new(outputs.open(path)?))) };
    if let Some(path) = &args.html {
        sinks.push(Box::new(Html::new(file(path)?)));
    }
    if let Some(path) = &args.perfetto {
        sinks.push(Box::new(Perfetto::new(file(path)?)));
    }
    Ok(sinks)
}

/// Writes the forms that need all data.
fn write_table(args: &Args, form: Form, data: &ReportData<'_>, style: Style, target: &Target) -> io::Result<()> {
    let view = View { by: args.by.map(Into::into), sort: args.sort(), top: args.top };
    let mut writer = target.clone();
    match form {
        Form::Table => table(data, view, style, &mut writer)?,
        Form::CsvRows => csv::table(data, view, &mut writer)?,
        Form::JsonRows => json::table(data, view, &mut writer)?,
        Form::Tree | Form::Lines | Form::JsonChains | Form::CsvRecords | Form::None => {}
    }
    target.end()
}
