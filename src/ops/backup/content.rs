//! One file's bytes to a content list: read ▸ cut ▸ name ▸ store.
//!
//! A large file is read and cut by one thread into a few buffers in turn, and stored by as many
//! others as there are processors: none waits for another, be it for the disk or for a pack to be
//! durable. More would take the processors from the one that reads, and each other's caches. Two
//! files at most are read so at a time; further ones make do with one thread and a small buffer
//! each, so that memory stays bounded whatever runs beside.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use crate::chunk::{Chunker, Gear};
use crate::crypto::BlobKeys;
use crate::error::Result;
use crate::event::{Context, Meter};
use crate::format::limits::{EXTENTS_INLINE_MAX, INLINE_MAX};
use crate::format::page::Builder;
use crate::format::records::Profile;
use crate::id::BlobId;
use crate::model::{Content, Extent};
use crate::repo::{FrameScope, Writer};
use crate::source::{ALIGN, OpenFile, ReadBuffer, Segments, SourceError};

/// Buffer of a large file that is read ahead, and how many of them it has.
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
    /// Where chunks and pages go.
    pub writer: &'a Writer<'a>,
    /// Names and cuts pages.
    pub keys: &'a BlobKeys,
    /// Cuts chunks.
    pub gear: &'a Gear,
    /// Progress, and whether to stop.
    pub cx: &'a Context<'a>,
    /// How many large files are being read ahead.
    pub large: AtomicUsize,
}

/// Reading a file did not work out.
pub enum Trouble {
    /// The source: this file is lost, the rest goes on.
    Source(SourceError),
    /// It is time to stop.
    Cancelled,
    /// The repository: nothing goes on.
    Fatal(crate::error::Error),
}
impl From<crate::error::Error> for Trouble {
    fn from(e: crate::error::Error) -> Self {
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
/// than the longest chunk. What is read goes behind it, so that reads begin at whole pages.
fn lead(profile: &Profile) -> usize {
    (profile.max as usize).next_multiple_of(ALIGN)
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

/// A buffer that was read and cut.
struct Ready {
    /// Where in the buffer its bytes begin,
    begin: usize,
    /// and where they end.
    end: usize,
    /// What to do with them.
    steps: Vec<Step>,
    /// Where the bytes begin that are not decided yet.
    rest: usize,
    /// The file ends here, and nothing is left undecided.
    done: bool,
}

impl Stream<'_> {
    /// Read from `at` on, behind what was kept from the buffer before, and cut.
    fn prepare(
        &mut self,
        chunker: &Chunker<'_>,
        buffer: &mut [u8],
        (kept, at): (usize, usize),
        cx: &Context<'_>,
    ) -> Result<Ready, Trouble> {
        let (n, mut marks) = self.fill(&mut buffer[at..], cx)?;
        marks.iter_mut().for_each(|m| m.at += at);
        let (begin, end) = (at - kept, at + n);
        let (steps, rest) = cut(chunker, &buffer[..end], begin, &marks, self.done);
        Ok(Ready { begin, end, steps, rest, done: self.done })
    }
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

/// A buffer with what to do with it.
struct Loaded {
    buffer: ReadBuffer,
    ready: Ready,
}

/// A buffer that is being stored; its groups of steps hold on to it until they are done.
struct UnderWay {
    loaded: Arc<Loaded>,
    groups: usize,
    /// The number of a group and its extents, in any order.
    stored: mpsc::Receiver<(usize, Result<Vec<Extent>>)>,
}

/// Some neighbouring steps of a buffer.
struct Group {
    loaded: Arc<Loaded>,
    nr: usize,
    steps: Range<usize>,
    tell: mpsc::Sender<(usize, Result<Vec<Extent>>)>,
}

/// Each group is about a frame's worth of neighbours, so that they end up together.
fn in_groups(loaded: Loaded, scope: FrameScope) -> (UnderWay, Vec<Group>) {
    let loaded = Arc::new(loaded);
    let Ready { begin, end, steps, .. } = &loaded.ready;
    let a_group = (scope.target as usize * steps.len() / (end - begin).max(1)).clamp(1, steps.len().max(1));
    let (tell, stored) = mpsc::channel();
    let group = |(nr, from)| Group {
        loaded: Arc::clone(&loaded),
        nr,
        steps: from..steps.len().min(from + a_group),
        tell: tell.clone(),
    };
    let groups: Vec<Group> = (0..steps.len()).step_by(a_group).enumerate().map(group).collect();
    (UnderWay { groups: groups.len(), stored, loaded: Arc::clone(&loaded) }, groups)
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
        let (waiting, threads) = &mut *self.locked();
        waiting.extend(groups);
        let more = self.most.min(waiting.len()).saturating_sub(*threads);
        *threads += more;
        more
    }

    /// The next group; with `None` the thread is to leave.
    fn next(&self) -> Option<Group> {
        let (waiting, threads) = &mut *self.locked();
        if waiting.is_empty() {
            *threads -= 1;
        }
        waiting.pop_front()
    }

    fn locked(&self) -> MutexGuard<'_, (VecDeque<Group>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wait until a buffer is stored, take its extents, and give the buffer back.
fn settle(what: Option<UnderWay>, sink: &mut Sink<'_>) -> Result<Option<ReadBuffer>> {
    let Some(UnderWay { loaded, groups, stored }) = what else { return Ok(None) };
    let mut extents: Vec<Vec<Extent>> = vec![Vec::new(); groups];
    // Ends early only if a thread panicked, which the scope of the threads passes on.
    for (nr, group) in stored {
        extents[nr] = group?;
    }
    extents.into_iter().flatten().try_for_each(|e| sink.push(e))?;
    Ok(Arc::into_inner(loaded).map(|l| l.buffer))
}

impl Contents<'_> {
    /// Read a whole file; gives its length as read and its content.
    pub fn read(&self, file: &OpenFile, profile: &Profile, scope: FrameScope) -> Result<(u64, Content), Trouble> {
        let size = file.stat().size;
        if size < SMALL_BUFFER as u64 {
            return self.read_small(file, profile, scope);
        }
        let (chunker, mut stream) = (Chunker::new(self.gear, profile), Stream::new(file));
        self.read_large(profile, scope, |buffer, at| stream.prepare(&chunker, buffer, at, self.cx))
    }

    fn read_small(&self, file: &OpenFile, profile: &Profile, scope: FrameScope) -> Result<(u64, Content), Trouble> {
        // Taken out, not borrowed: storing may run other work of this thread in between.
        let mut buffer = BUFFER.take().unwrap_or_else(|| ReadBuffer::new(SMALL_BUFFER));
        let size = file.stat().size as usize;
        // One byte more tells whether it has grown.
        let n = file.read_at(0, &mut buffer[..size + 1])?;
        Meter::add(&self.cx.meter.bytes_read, n as u64);
        Meter::add(&self.cx.meter.bytes_done, n as u64);
        let n = n.min(size);
        let out = if n <= INLINE_MAX {
            Ok((n as u64, Content::Inline(buffer[..n].to_vec())))
        } else if file.stat().blocks.saturating_mul(512) < file.stat().size {
            let (chunker, mut stream) = (Chunker::new(self.gear, profile), Stream::new(file));
            self.read_along(profile, scope, &mut buffer, |buffer, at| stream.prepare(&chunker, buffer, at, self.cx))
        } else {
            self.store_small(&buffer[..n], profile, scope)
        };
        BUFFER.set(Some(buffer));
        out
    }

    fn store_small(&self, bytes: &[u8], profile: &Profile, scope: FrameScope) -> Result<(u64, Content), Trouble> {
        let chunker = Chunker::new(self.gear, profile);
        let mut sink = Sink::new(self.writer, self.keys);
        let (steps, _) = cut(&chunker, bytes, 0, &[], true);
        self.store(bytes, &steps, scope, &mut sink)?;
        Ok(sink.finish(profile.id)?)
    }

    /// Read what needs more than a buffer. `prepare` is told how much was kept from the buffer before,
    /// and where it ends and more is to be read to.
    fn read_large<E: From<crate::error::Error>>(
        &self,
        profile: &Profile,
        scope: FrameScope,
        prepare: impl FnMut(&mut [u8], (usize, usize)) -> Result<Ready, E>,
    ) -> Result<(u64, Content), E> {
        let slot = self.large.fetch_add(1, SeqCst);
        // Who waits for other threads needs some.
        let out = if slot < LARGE_FILES && rayon::current_num_threads() > LARGE_FILES {
            self.read_ahead(profile, scope, prepare)
        } else {
            // Taken out, not borrowed: storing may run other work of this thread in between.
            let mut buffer = BUFFER.take().unwrap_or_else(|| ReadBuffer::new(SMALL_BUFFER));
            let out = self.read_along(profile, scope, &mut buffer, prepare);
            BUFFER.set(Some(buffer));
            out
        };
        self.large.fetch_sub(1, SeqCst);
        out
    }

    /// One buffer, one thread.
    fn read_along<E: From<crate::error::Error>>(
        &self,
        profile: &Profile,
        scope: FrameScope,
        buffer: &mut ReadBuffer,
        mut prepare: impl FnMut(&mut [u8], (usize, usize)) -> Result<Ready, E>,
    ) -> Result<(u64, Content), E> {
        let lead = lead(profile);
        if buffer.len() < 2 * lead {
            *buffer = ReadBuffer::new(2 * lead);
        }
        let mut sink = Sink::new(self.writer, self.keys);
        let mut kept = 0;
        loop {
            let ready = prepare(buffer, (kept, lead))?;
            self.store(&buffer[..ready.end], &ready.steps, scope, &mut sink)?;
            if ready.done {
                return Ok(sink.finish(profile.id)?);
            }
            kept = ready.end - ready.rest;
            buffer.copy_within(ready.rest..ready.end, lead - kept);
        }
    }

    /// Read and cut here, store elsewhere.
    fn read_ahead<E: From<crate::error::Error>>(
        &self,
        profile: &Profile,
        scope: FrameScope,
        mut prepare: impl FnMut(&mut [u8], (usize, usize)) -> Result<Ready, E>,
    ) -> Result<(u64, Content), E> {
        let lead = lead(profile);
        let room = lead + LARGE_BUFFER.max(lead);
        let (work, mut sink) = (Work::new(), Sink::new(self.writer, self.keys));
        let mut rest = Vec::new();
        rayon::in_place_scope(|threads| {
            let mut under_way = VecDeque::new();
            loop {
                let mut buffer = match under_way.len() {
                    LARGE_BUFFERS => settle(under_way.pop_front(), &mut sink)?,
                    _ => None,
                }
                .unwrap_or_else(|| ReadBuffer::new(room));
                buffer[lead - rest.len()..lead].copy_from_slice(&rest);
                let ready = prepare(&mut buffer, (rest.len(), lead))?;
                rest.clear();
                rest.extend_from_slice(&buffer[ready.rest..ready.end]);
                let done = ready.done;
                let (what, groups) = in_groups(Loaded { buffer, ready }, scope);
                under_way.push_back(what);
                for _ in 0..work.put(groups) {
                    threads.spawn(|_| {
                        while let Some(group) = work.next() {
                            self.store_group(group, scope)
                        }
                    });
                }
                if done {
                    break;
                }
            }
            while !under_way.is_empty() {
                settle(under_way.pop_front(), &mut sink)?;
            }
            Ok(sink.finish(profile.id)?)
        })
    }

    fn store_group(&self, group: Group, scope: FrameScope) {
        let Group { loaded, nr, steps, tell } = group;
        let extents = loaded.ready.steps[steps].iter().map(|s| self.step(&loaded.buffer, s, scope)).collect();
        drop(loaded);
        // Nobody listens any more after an error.
        let _ = tell.send((nr, extents));
    }

    /// Read a stream to its end.
    pub fn read_stream(
        &self,
        from: &mut (dyn std::io::Read + Send),
        profile: &Profile,
        scope: FrameScope,
    ) -> Result<(u64, Content)> {
        let chunker = Chunker::new(self.gear, profile);
        let mut first = true;
        let mut small = None;
        let out = self.read_large(profile, scope, |buffer, (kept, at)| -> Result<Ready> {
            let n = fill_from(from, &mut buffer[at..], self.cx)?;
            Meter::add(&self.cx.meter.bytes_read, n as u64);
            Meter::add(&self.cx.meter.bytes_done, n as u64);
            let (begin, end) = (at - kept, at + n);
            let done = end < buffer.len();
            if std::mem::take(&mut first) && done && n <= INLINE_MAX {
                small = Some(buffer[begin..end].to_vec());
                return Ok(Ready { begin, end, steps: vec![], rest: end, done });
            }
            let (steps, rest) = cut(&chunker, &buffer[..end], begin, &[], done);
            Ok(Ready { begin, end, steps, rest, done })
        })?;
        Ok(small.map_or(out, |bytes| (bytes.len() as u64, Content::Inline(bytes))))
    }

    fn store(&self, bytes: &[u8], steps: &[Step], scope: FrameScope, sink: &mut Sink<'_>) -> Result<()> {
        for step in steps {
            sink.push(self.step(bytes, step, scope)?)?;
        }
        Ok(())
    }

    fn step(&self, bytes: &[u8], step: &Step, scope: FrameScope) -> Result<Extent> {
        Ok(match step {
            Step::Hole(len) => Extent::Hole { len: *len },
            Step::Chunk(range) => {
                let bytes = &bytes[range.clone()];
                let (id, _) = self.writer.chunk(scope, bytes)?;
                Extent::Data { id, len: bytes.len() as u32, repeat: 1 }
            }
        })
    }
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
                return Err(
                    crate::error::Error::new(crate::error::ErrorKind::Source, "the stream cannot be read").because(e)
                );
            }
        }
    }
    Ok(n)
}
