//! One file's bytes to a content list: read ▸ cut ▸ name ▸ store.
//!
//! A large file is cut by one thread in a few buffers in turn; another reads the next one meanwhile,
//! and as many as there are processors store those before: none waits for another, be it for the
//! disk or for a pack to be durable. More would take the processors from the one that cuts, and each
//! other's caches. Two files at most are read so at a time; further ones make do with one thread and
//! a small buffer each, so that memory stays bounded whatever runs beside.
//!
//! Several repositories may want the same file: then each cuts, names and stores by its own secrets
//! what was read once, from the same buffers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use crate::chunk::Chunker;
use crate::crypto::BlobKeys;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter};
use crate::format::limits::{EXTENTS_INLINE_MAX, INLINE_MAX};
use crate::format::page::Builder;
use crate::format::records::Profile;
use crate::id::BlobId;
use crate::model::{Content, Extent};
use crate::ops::locked;
use crate::repo::{FrameScope, Writer};
use crate::source::{ALIGN, OpenFile, ReadBuffer, Segments, SourceError};

/// Buffer of a large file that is read ahead, and how many of them are stored or cut at the same time; one
/// more is being read.
const LARGE_BUFFER: usize = 4 << 20;
const LARGE_BUFFERS: usize = 4;
/// Large files that are read ahead at the same time.
const LARGE_FILES: usize = 2;
/// Buffer of a small file; files from this length on are large.
const SMALL_BUFFER: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Option<ReadBuffer>> = const { RefCell::new(None) };
}

/// Turns files into content lists.
pub struct Contents<'a> {
    /// Progress, and whether to stop.
    pub cx: &'a Context<'a>,
    /// How many large files are being read ahead.
    pub large: AtomicUsize,
}

/// A repository that wants a file.
pub struct Wish<'a> {
    /// Where chunks and pages go.
    pub writer: &'a Writer<'a>,
    /// How it is cut.
    pub profile: &'a Profile,
    /// With what it may share frames.
    pub scope: FrameScope,
    /// The repository failed somewhere: nothing more is stored there.
    pub failed: &'a AtomicBool,
}

impl Wish<'_> {
    fn sink(&self) -> Sink<'_> {
        Sink::new(self.writer, self.writer.repo().keys())
    }
    fn chunker(&self) -> Chunker<'_> {
        Chunker::new(self.writer.repo().gear(), self.profile)
    }
    fn check(&self) -> Result<()> {
        match self.failed.load(Relaxed) {
            true => Err(Error::new(ErrorKind::Storage, "the repository failed before")),
            false => Ok(()),
        }
    }

    fn store(&self, bytes: &[u8], steps: &[Step], sink: &mut Sink<'_>) -> Result<()> {
        self.check()?;
        steps.iter().try_for_each(|step| sink.push(self.step(bytes, step)?))
    }

    fn step(&self, bytes: &[u8], step: &Step) -> Result<Extent> {
        Ok(match step {
            Step::Hole(len) => Extent::Hole { len: *len },
            Step::Chunk(range) => {
                let bytes = &bytes[range.clone()];
                let (id, _) = self.writer.chunk(self.scope, bytes)?;
                Extent::Data { id, len: bytes.len() as u32, repeat: 1 }
            }
        })
    }
}

/// What each repository that wanted a file has of it: its length as read and its content.
pub type Kept = Vec<Result<(u64, Content)>>;

/// Reading a file did not work out.
pub enum Trouble {
    /// The source: this file is lost, the rest goes on.
    Source(SourceError),
    /// It is time to stop.
    Cancelled,
    /// All repositories: nothing goes on.
    Fatal(Error),
}
impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Fatal(e)
    }
}
impl From<SourceError> for Trouble {
    fn from(e: SourceError) -> Self {
        Self::Source(e)
    }
}

/// Gathers extents: few stay with the node, many become pages.
struct Sink<'a> {
    writer: &'a Writer<'a>,
    keys: &'a BlobKeys,
    few: Vec<Extent>,
    many: Option<Builder<'a>>,
    last: Option<Extent>,
    bytes: u64,
}

impl<'a> Sink<'a> {
    fn new(writer: &'a Writer<'a>, keys: &'a BlobKeys) -> Self {
        Self { writer, keys, few: Vec::new(), many: None, last: None, bytes: 0 }
    }

    /// Add an extent, joined with the one before where they are one.
    fn push(&mut self, extent: Extent) -> Result<()> {
        self.bytes += extent.bytes();
        match (&mut self.last, extent) {
            (Some(Extent::Hole { len }), Extent::Hole { len: more }) => *len += more,
            (Some(Extent::Data { id, repeat, .. }), Extent::Data { id: same, .. })
                if *id == same && *repeat < u32::MAX =>
            {
                *repeat += 1;
            }
            (last, next) => {
                if let Some(done) = last.replace(next) {
                    self.settle(done)?;
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, extent: Extent) -> Result<()> {
        if self.many.is_none() && self.few.len() < EXTENTS_INLINE_MAX {
            self.few.push(extent);
            return Ok(());
        }
        let writer = self.writer;
        let mut emit = |bytes: Vec<u8>| writer.page(&bytes);
        let builder = self.many.get_or_insert_with(|| Builder::list(self.keys));
        for e in self.few.drain(..).chain([extent]) {
            builder.extent(&e, &mut emit)?;
        }
        Ok(())
    }

    fn finish(mut self, profile: u8) -> Result<(u64, Content)> {
        if let Some(last) = self.last.take() {
            self.settle(last)?;
        }
        let bytes = self.bytes;
        let Some(builder) = self.many else { return Ok((bytes, Content::Extents { profile, extents: self.few })) };
        let writer = self.writer;
        let root = builder.finish(&mut |bytes: Vec<u8>| writer.page(&bytes))?;
        let root = root.expect("a builder that was given extents has a root");
        Ok((bytes, Content::Pages { profile, root }))
    }
}

/// Room at the beginning of a buffer for what was left undecided of the one before, which is less
/// than the longest chunk of anybody. What is read goes behind it, so that reads begin at whole pages.
fn lead(wishes: &[Wish<'_>]) -> usize {
    wishes.iter().map(|w| w.profile.max as usize).max().unwrap_or(0).next_multiple_of(ALIGN)
}

/// Where the data in a buffer ends for now: a hole of this length follows.
struct Mark {
    at: usize,
    hole: u64,
}

/// A file's data, buffer by buffer, with marks where holes are.
struct Stream<'f> {
    file: &'f OpenFile,
    segments: Segments<'f>,
    /// What is left of the current segment.
    current: Option<(u64, u64)>,
    done: bool,
}

impl<'f> Stream<'f> {
    fn new(file: &'f OpenFile) -> Self {
        Self { file, segments: file.segments(), current: None, done: false }
    }

    /// Fill `into`; gives how much there was and where holes follow. Shorter than `into` only at
    /// the end.
    fn fill(&mut self, into: &mut [u8], cx: &Context<'_>) -> Result<(usize, Vec<Mark>), Trouble> {
        let (mut n, mut marks) = (0, Vec::new());
        while n < into.len() && !self.done {
            if cx.cancelled() {
                return Err(Trouble::Cancelled);
            }
            let Some((offset, len)) = self.current.take() else {
                match self.segments.next() {
                    Some(s) if s.hole => marks.push(Mark { at: n, hole: s.len }),
                    Some(s) => self.current = Some((s.offset, s.len)),
                    None => self.done = true,
                }
                continue;
            };
            let want = (into.len() - n).min(usize::try_from(len).unwrap_or(usize::MAX));
            let got = self.file.read_at(offset, &mut into[n..n + want])?;
            n += got;
            Meter::add(&cx.meter.bytes_read, got as u64);
            Meter::add(&cx.meter.bytes_done, got as u64);
            if got < want {
                // The file became shorter meanwhile.
                self.done = true;
            } else if len > want as u64 {
                self.current = Some((offset + want as u64, len - want as u64));
            }
        }
        // To know whether this was the end, look one segment ahead.
        if self.current.is_none() && !self.done {
            match self.segments.next() {
                Some(s) if s.hole => {
                    marks.push(Mark { at: n, hole: s.len });
                    self.current = self.segments.next().map(|s| (s.offset, s.len));
                    self.done = self.current.is_none();
                }
                Some(s) => self.current = Some((s.offset, s.len)),
                None => self.done = true,
            }
        }
        Ok((n, marks))
    }
}

/// What was read into a buffer.
struct Filled {
    bytes: usize,
    marks: Vec<Mark>,
    /// The file ends here.
    done: bool,
}

impl Stream<'_> {
    fn filled(&mut self, into: &mut [u8], cx: &Context<'_>) -> Result<Filled, Trouble> {
        let (bytes, marks) = self.fill(into, cx)?;
        Ok(Filled { bytes, marks, done: self.done })
    }
}

/// What one repository is to do with a buffer.
struct Ready {
    /// Where in the buffer its bytes begin,
    begin: usize,
    /// and where they end.
    end: usize,
    /// What to do with them.
    steps: Vec<Step>,
}

/// A file on its way into one repository.
struct Course<'w> {
    wish: &'w Wish<'w>,
    chunker: Chunker<'w>,
    sink: Sink<'w>,
    /// Bytes before the lead of the next buffer that are not decided yet.
    kept: usize,
    failed: Option<Error>,
}

impl<'w> Course<'w> {
    fn new(wish: &'w Wish<'w>) -> Self {
        Self { wish, chunker: wish.chunker(), sink: wish.sink(), kept: 0, failed: None }
    }

    /// Cut what was read behind `lead`, and what was kept before.
    fn cut(&mut self, buffer: &[u8], lead: usize, filled: &Filled) -> Ready {
        let (begin, end) = (lead - self.kept, lead + filled.bytes);
        if self.failed.is_some() {
            return Ready { begin: end, end, steps: vec![] };
        }
        let (steps, rest) = cut(&self.chunker, &buffer[..end], begin, &filled.marks, filled.done);
        self.kept = end - rest;
        Ready { begin, end, steps }
    }

    fn note(&mut self, done: Result<()>) {
        if let Err(e) = done {
            (self.failed, self.kept) = (Some(e), 0);
        }
    }

    fn finish(self) -> Result<(u64, Content)> {
        match self.failed {
            Some(e) => Err(e),
            None => self.sink.finish(self.wish.profile.id),
        }
    }
}

/// Whether nobody wants it any more.
fn all_failed(courses: &[Course<'_>]) -> bool {
    courses.iter().all(|c| c.failed.is_some())
}

/// How much before the end of a buffer is to be kept.
fn kept(courses: &[Course<'_>]) -> usize {
    courses.iter().map(|c| c.kept).max().unwrap_or(0)
}

fn finish(courses: Vec<Course<'_>>) -> Kept {
    courses.into_iter().map(Course::finish).collect()
}

/// A step of a buffer: chunks to store, or a hole.
enum Step {
    Chunk(Range<usize>),
    Hole(u64),
}

/// Cut what is known of a buffer from `begin` on; gives the steps and where the undecided rest begins.
fn cut(chunker: &Chunker<'_>, bytes: &[u8], begin: usize, marks: &[Mark], last: bool) -> (Vec<Step>, usize) {
    let (mut steps, mut at) = (Vec::new(), begin);
    let run = |from: &mut usize, to: usize, last: bool, steps: &mut Vec<Step>| {
        while let Some(len) = chunker.cut(&bytes[*from..to], last) {
            steps.push(Step::Chunk(*from..*from + len));
            *from += len;
        }
    };
    for mark in marks {
        run(&mut at, mark.at, true, &mut steps);
        steps.push(Step::Hole(mark.hole));
    }
    run(&mut at, bytes.len(), last, &mut steps);
    (steps, at)
}

/// A buffer with what to do with it, for each course.
struct Loaded {
    buffer: ReadBuffer,
    ready: Vec<Ready>,
}

/// A group of steps: its course, its number in it, and its extents.
type Stored = (usize, usize, Result<Vec<Extent>>);

/// A buffer that is being stored; its groups of steps hold on to it until they are done.
struct UnderWay {
    loaded: Arc<Loaded>,
    /// How many, for each course.
    groups: Vec<usize>,
    /// In any order.
    stored: mpsc::Receiver<Stored>,
}

/// Some neighbouring steps of a buffer.
struct Group {
    loaded: Arc<Loaded>,
    course: usize,
    nr: usize,
    steps: Range<usize>,
    tell: mpsc::Sender<Stored>,
}

/// Each group is about a frame's worth of neighbours, so that they end up together.
fn in_groups(loaded: Loaded, wishes: &[Wish<'_>]) -> (UnderWay, Vec<Group>) {
    let loaded = Arc::new(loaded);
    let (tell, stored) = mpsc::channel();
    let (mut groups, mut counts) = (Vec::new(), Vec::new());
    for (course, (Ready { begin, end, steps }, wish)) in loaded.ready.iter().zip(wishes).enumerate() {
        let a_group = (wish.scope.target as usize * steps.len() / (end - begin).max(1)).clamp(1, steps.len().max(1));
        let group = |(nr, from)| Group {
            loaded: Arc::clone(&loaded),
            course,
            nr,
            steps: from..steps.len().min(from + a_group),
            tell: tell.clone(),
        };
        let before = groups.len();
        groups.extend((0..steps.len()).step_by(a_group).enumerate().map(group));
        counts.push(groups.len() - before);
    }
    (UnderWay { groups: counts, stored, loaded: Arc::clone(&loaded) }, groups)
}

/// What of a file waits to be stored, first come, first served.
struct Work {
    state: Mutex<(VecDeque<Group>, usize)>,
    most: usize,
}

impl Work {
    fn new() -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from) + 1;
        Self { state: Mutex::default(), most }
    }

    /// Put groups in; gives how many more threads should take them out by [`Work::next`].
    fn put(&self, groups: Vec<Group>) -> usize {
        let (waiting, threads) = &mut *locked(&self.state);
        waiting.extend(groups);
        let more = self.most.min(waiting.len()).saturating_sub(*threads);
        *threads += more;
        more
    }

    /// The next group; with `None` the thread is to leave.
    fn next(&self) -> Option<Group> {
        let (waiting, threads) = &mut *locked(&self.state);
        if waiting.is_empty() {
            *threads -= 1;
        }
        waiting.pop_front()
    }
}

/// The buffer after the one that is being cut. Whoever comes first reads it: a thread that is free, or
/// the one that wants to cut it; so nobody waits for a thread that there is not.
struct Next<F, E> {
    lead: usize,
    state: Mutex<(F, Turn<E>)>,
}

enum Turn<E> {
    /// Nothing is wanted.
    Idle,
    /// To be read into this.
    Wanted(ReadBuffer),
    /// Read.
    There(ReadBuffer, Result<Filled, E>),
}

impl<F: FnMut(&mut [u8]) -> Result<Filled, E>, E> Next<F, E> {
    fn new(lead: usize, first: ReadBuffer, fill: F) -> Self {
        Self { lead, state: Mutex::new((fill, Turn::Wanted(first))) }
    }

    fn want(&self, into: ReadBuffer) {
        locked(&self.state).1 = Turn::Wanted(into);
    }

    /// Read what is wanted, if nobody has or does. Who holds the lock reads, or is about to.
    fn read(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            self.read_in(&mut state);
        }
    }

    fn read_in(&self, (fill, turn): &mut (F, Turn<E>)) {
        *turn = match std::mem::replace(turn, Turn::Idle) {
            Turn::Wanted(mut buffer) => {
                let filled = filled_behind(self.lead, &mut buffer, fill);
                Turn::There(buffer, filled)
            }
            other => other,
        };
    }

    /// What was wanted. Who is reading it holds the lock.
    fn take(&self) -> Option<(ReadBuffer, Result<Filled, E>)> {
        let mut state = locked(&self.state);
        self.read_in(&mut state);
        match std::mem::replace(&mut state.1, Turn::Idle) {
            Turn::There(buffer, filled) => Some((buffer, filled)),
            Turn::Idle | Turn::Wanted(_) => None,
        }
    }
}

/// Wait until a buffer is stored, take its extents, and give the buffer back.
fn settle(what: Option<UnderWay>, courses: &mut [Course<'_>]) -> Option<ReadBuffer> {
    let UnderWay { loaded, groups, stored } = what?;
    let mut extents: Vec<Vec<Vec<Extent>>> = groups.into_iter().map(|n| vec![Vec::new(); n]).collect();
    // Ends early only if a thread panicked, which the scope of the threads passes on.
    for (course, nr, group) in stored {
        match group {
            Ok(group) => extents[course][nr] = group,
            Err(e) => courses[course].note(Err(e)),
        }
    }
    for (course, extents) in courses.iter_mut().zip(extents) {
        if course.failed.is_none() {
            let pushed = extents.into_iter().flatten().try_for_each(|e| course.sink.push(e));
            course.note(pushed);
        }
    }
    Arc::into_inner(loaded).map(|l| l.buffer)
}

impl Contents<'_> {
    /// Read a whole file, once for all who want it.
    pub fn read(&self, file: &OpenFile, wishes: &[Wish<'_>]) -> Result<Kept, Trouble> {
        let size = file.stat().size;
        if size < SMALL_BUFFER as u64 {
            return self.read_small(file, wishes);
        }
        let mut stream = Stream::new(file);
        self.read_large(wishes, |into| stream.filled(into, self.cx))
    }

    fn read_small(&self, file: &OpenFile, wishes: &[Wish<'_>]) -> Result<Kept, Trouble> {
        // Taken out, not borrowed: storing may run other work of this thread in between.
        let mut buffer = BUFFER.take().unwrap_or_else(|| ReadBuffer::new(SMALL_BUFFER));
        let size = file.stat().size as usize;
        // One byte more tells whether it has grown.
        let n = file.read_at(0, &mut buffer[..size + 1])?;
        Meter::add(&self.cx.meter.bytes_read, n as u64);
        Meter::add(&self.cx.meter.bytes_done, n as u64);
        let n = n.min(size);
        let out = if n <= INLINE_MAX {
            Ok(inline(&buffer[..n], wishes))
        } else if file.stat().blocks.saturating_mul(512) < file.stat().size {
            let mut stream = Stream::new(file);
            self.read_along(wishes, &mut buffer, |into| stream.filled(into, self.cx))
        } else {
            Ok(wishes.iter().map(|w| store_small(&buffer[..n], w)).collect())
        };
        BUFFER.set(Some(buffer));
        out
    }

    /// Read what needs more than a buffer. `fill` gives what comes next.
    fn read_large<E: Send>(
        &self,
        wishes: &[Wish<'_>],
        fill: impl FnMut(&mut [u8]) -> Result<Filled, E> + Send,
    ) -> Result<Kept, E> {
        let slot = self.large.fetch_add(1, SeqCst);
        // Who waits for other threads needs some.
        let out = if slot < LARGE_FILES && rayon::current_num_threads() > LARGE_FILES {
            self.read_ahead(wishes, fill)
        } else {
            // Taken out, not borrowed: storing may run other work of this thread in between.
            let mut buffer = BUFFER.take().unwrap_or_else(|| ReadBuffer::new(SMALL_BUFFER));
            let out = self.read_along(wishes, &mut buffer, fill);
            BUFFER.set(Some(buffer));
            out
        };
        self.large.fetch_sub(1, SeqCst);
        out
    }

    /// One buffer, one thread.
    fn read_along<E>(
        &self,
        wishes: &[Wish<'_>],
        buffer: &mut ReadBuffer,
        mut fill: impl FnMut(&mut [u8]) -> Result<Filled, E>,
    ) -> Result<Kept, E> {
        let lead = lead(wishes);
        if buffer.len() < 2 * lead {
            *buffer = ReadBuffer::new(2 * lead);
        }
        let mut courses: Vec<Course<'_>> = wishes.iter().map(Course::new).collect();
        loop {
            let filled = filled_behind(lead, buffer, &mut fill)?;
            for course in courses.iter_mut().filter(|c| c.failed.is_none()) {
                let ready = course.cut(buffer, lead, &filled);
                let stored = course.wish.store(&buffer[..ready.end], &ready.steps, &mut course.sink);
                course.note(stored);
            }
            if filled.done || all_failed(&courses) {
                return Ok(finish(courses));
            }
            let (end, kept) = (lead + filled.bytes, kept(&courses));
            buffer.copy_within(end - kept..end, lead - kept);
        }
    }

    /// Cut here; read the next buffer and store those before elsewhere.
    fn read_ahead<E: Send>(
        &self,
        wishes: &[Wish<'_>],
        fill: impl FnMut(&mut [u8]) -> Result<Filled, E> + Send,
    ) -> Result<Kept, E> {
        let lead = lead(wishes);
        let room = lead + LARGE_BUFFER.max(lead);
        let (next, work) = (Next::new(lead, ReadBuffer::new(room), fill), Work::new());
        let mut courses: Vec<Course<'_>> = wishes.iter().map(Course::new).collect();
        let mut rest = Vec::new();
        rayon::in_place_scope(|threads| {
            let mut under_way = VecDeque::new();
            // There is none only if a thread panicked, which the scope passes on.
            while let Some((mut buffer, filled)) = next.take() {
                let filled = filled?;
                let done = filled.done;
                if !done {
                    let free = match under_way.len() {
                        LARGE_BUFFERS => settle(under_way.pop_front(), &mut courses),
                        _ => None,
                    };
                    if all_failed(&courses) {
                        break;
                    }
                    next.want(free.unwrap_or_else(|| ReadBuffer::new(room)));
                    threads.spawn(|_| next.read());
                }
                buffer[lead - rest.len()..lead].copy_from_slice(&rest);
                let ready = courses.iter_mut().map(|c| c.cut(&buffer, lead, &filled)).collect();
                let end = lead + filled.bytes;
                rest.clear();
                rest.extend_from_slice(&buffer[end - kept(&courses)..end]);
                let (what, groups) = in_groups(Loaded { buffer, ready }, wishes);
                under_way.push_back(what);
                for _ in 0..work.put(groups) {
                    threads.spawn(|_| {
                        while let Some(group) = work.next() {
                            store_group(group, wishes)
                        }
                    });
                }
                if done {
                    break;
                }
            }
            while !under_way.is_empty() {
                settle(under_way.pop_front(), &mut courses);
            }
            Ok(())
        })?;
        Ok(finish(courses))
    }

    /// Read a stream to its end.
    pub fn read_stream(&self, from: &mut (dyn std::io::Read + Send), wishes: &[Wish<'_>]) -> Result<Kept> {
        let mut first = true;
        let mut small = None;
        let out = self.read_large(wishes, |into| -> Result<Filled> {
            let bytes = fill_from(from, into, self.cx)?;
            Meter::add(&self.cx.meter.bytes_read, bytes as u64);
            Meter::add(&self.cx.meter.bytes_done, bytes as u64);
            let done = bytes < into.len();
            if std::mem::take(&mut first) && done && bytes <= INLINE_MAX {
                small = Some(into[..bytes].to_vec());
                return Ok(Filled { bytes: 0, marks: vec![], done });
            }
            Ok(Filled { bytes, marks: vec![], done })
        })?;
        Ok(small.map_or(out, |bytes| inline(&bytes, wishes)))
    }
}

/// Read from `lead` on; what is marked counts from the beginning of the buffer.
fn filled_behind<E>(
    lead: usize,
    buffer: &mut [u8],
    fill: &mut impl FnMut(&mut [u8]) -> Result<Filled, E>,
) -> Result<Filled, E> {
    let mut filled = fill(&mut buffer[lead..])?;
    filled.marks.iter_mut().for_each(|m| m.at += lead);
    Ok(filled)
}

/// What is so short stays with its node.
fn inline(bytes: &[u8], wishes: &[Wish<'_>]) -> Kept {
    wishes.iter().map(|_| Ok((bytes.len() as u64, Content::Inline(bytes.to_vec())))).collect()
}

fn store_small(bytes: &[u8], wish: &Wish<'_>) -> Result<(u64, Content)> {
    let mut sink = wish.sink();
    let (steps, _) = cut(&wish.chunker(), bytes, 0, &[], true);
    wish.store(bytes, &steps, &mut sink)?;
    sink.finish(wish.profile.id)
}

fn store_group(group: Group, wishes: &[Wish<'_>]) {
    let Group { loaded, course, nr, steps, tell } = group;
    let wish = &wishes[course];
    let store = |s: &Step| wish.step(&loaded.buffer, s);
    let extents = wish.check().and_then(|()| loaded.ready[course].steps[steps].iter().map(store).collect());
    drop(loaded);
    // Nobody listens any more after an error.
    let _ = tell.send((course, nr, extents));
}

/// The chunk of an extent; for careful runs, which look every one of them up.
pub fn chunk_of(extent: &Extent) -> Option<BlobId> {
    match extent {
        Extent::Data { id, .. } => Some(*id),
        Extent::Hole { .. } => None,
    }
}

/// Read until `into` is full or the stream ends.
fn fill_from(from: &mut (dyn std::io::Read + Send), into: &mut [u8], cx: &Context<'_>) -> Result<usize> {
    let mut n = 0;
    while n < into.len() {
        cx.check()?;
        match from.read(&mut into[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(Error::new(ErrorKind::Source, "the stream cannot be read").because(e));
            }
        }
    }
    Ok(n)
}
