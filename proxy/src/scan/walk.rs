//! The walk through a content: what it is, and what is in it.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};

use turnpike_policy::detect::Detectors;

use super::{
    Scanning, Subject,
    coded::Coding,
    findings::{Collector, Findings, Why},
    flat::{Flat, Inner},
    json,
    limits::{Budget, Limits},
    parts,
    place::Place,
    proto,
    sniff::{HEAD, Sniff},
    tar,
    text::{self, Text},
    zip,
};

/// What something is read from.
pub(super) type Source<'r> = Box<dyn Read + 'r>;

/// Members up to this size wait in memory while they have to be read from their end.
const SPOOL: usize = 1 << 20;

/// A content that can be read anywhere.
pub(super) trait Seekable: Read + Seek {}

impl<T: Read + Seek> Seekable for T {}

/// What a content is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever its bytes say.
    Any,
    /// The message of a call.
    Json,
    Xml,
    Form,
    /// Metadata and media of an upload.
    Related,
    /// A batch of calls.
    Mixed,
    /// Messages of gRPC with their heads.
    Grpc,
    /// One message.
    Proto,
    /// A type that holds other contents, and isn't taken apart.
    Closed(&'static str),
}

impl Kind {
    fn of(subject: &Subject) -> Self {
        if subject.media {
            return Self::Any;
        }
        let content_type = subject.content_type.as_deref().unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default();
        match media_type.trim().to_ascii_lowercase().as_str() {
            "multipart/related" => Self::Related,
            "multipart/mixed" => Self::Mixed,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/xml" | "text/xml" => Self::Xml,
            "application/json" => Self::Json,
            "application/grpc" | "application/grpc+proto" => Self::Grpc,
            "application/x-protobuf" | "application/protobuf" => Self::Proto,
            t if t.starts_with("multipart/") => Self::Closed("a multipart type other than related and mixed"),
            t if t.ends_with("+json") => Self::Json,
            t if t.ends_with("+xml") => Self::Xml,
            _ => Self::Any,
        }
    }
}

/// Whether a content is what its bytes say, and nothing that has to be read whole.
pub(super) fn is_data(subject: &Subject) -> bool {
    Kind::of(subject) == Kind::Any
}

/// How deep a content stands in others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Depth {
    archives: u8,
    codings: u8,
    base64: u8,
}

/// The walk through one content.
pub(super) struct Walker<'a> {
    scanning: &'a Scanning,
    collector: Collector<'a>,
    pub(super) budget: Budget,
}

impl<'a> Walker<'a> {
    pub(super) fn new(scanning: &'a Scanning, collector: Collector<'a>) -> Self {
        Self {
            scanning,
            collector,
            budget: Budget::new(scanning.limits),
        }
    }

    pub(super) fn finish(self) -> Findings {
        self.collector.finish()
    }

    pub(super) fn detectors(&self) -> &'a Detectors {
        &self.scanning.detectors
    }

    pub(super) fn collector(&mut self) -> &mut Collector<'a> {
        &mut self.collector
    }

    pub(super) fn limits(&self) -> &Limits {
        self.budget.limits()
    }

    /// Notes that something can't be searched, and where.
    pub(super) fn note(&mut self, place: &Place, result: Result<(), Why>) {
        if let Err(why) = result {
            self.collector.unscannable(why, &place.text());
        }
    }

    /// Searches the whole content of a request.
    pub(super) fn top(&mut self, subject: &Subject, content: &mut dyn Seekable) {
        let place = match subject.media {
            true => Place::of(subject.name.as_deref()),
            false => Place::default(),
        };
        if let Some(name) = &subject.name {
            let named = self.text(&Place::of(Some("name")), &mut name.as_bytes());
            self.note(&place, named);
        }
        let searched = self.whole(subject, &place, content);
        self.note(&place, searched);
    }

    fn whole(&mut self, subject: &Subject, place: &Place, content: &mut dyn Seekable) -> Result<(), Why> {
        content.seek(SeekFrom::Start(0))?;
        let codings = Coding::of(subject.content_encoding.as_deref().unwrap_or_default());
        let codings = match codings {
            Ok(codings) => codings,
            Err(why) => {
                self.text(place, content)?;
                return Err(why);
            }
        };
        let kind = Kind::of(subject);
        if codings.is_empty() && kind == Kind::Any && zip::is_zip(content)? {
            return zip::read(self, place, Depth::default().archive(self.limits())?, content);
        }
        content.seek(SeekFrom::Start(0))?;
        let mut source: Source<'_> = Box::new(BufReader::new(content));
        for coding in codings {
            source = coding.undone(source, &self.budget);
        }
        match kind {
            Kind::Any => self.content(place, Depth::default(), source),
            Kind::Json => self.message(place, source),
            Kind::Xml => self.xml(place, source),
            Kind::Form => self.form(place, source),
            Kind::Related | Kind::Mixed => parts::multipart(self, subject, kind, source),
            Kind::Grpc => proto::stream(self, subject, place, source),
            Kind::Proto => proto::single(self, place, source),
            Kind::Closed(name) => {
                self.text(place, &mut { source })?;
                Err(Why::Format(name))
            }
        }
    }

    /// Searches somebody's data, whatever it is.
    pub(super) fn content(&mut self, place: &Place, depth: Depth, mut source: Source<'_>) -> Result<(), Why> {
        let (head, read) = read_most(&mut source, HEAD as u64 - 1);
        let sniff = Sniff::of(&head);
        let head = Cursor::new(head);
        let mut source: Source<'_> = match read {
            Ok(()) => Box::new(head.chain(source)),
            Err(why) => Box::new(head.chain(Failed(Some(why)))),
        };
        match sniff {
            Sniff::Gzip => self.coded(place, depth, Coding::Gzip, source),
            Sniff::Zstd => self.coded(place, depth, Coding::Zstd, source),
            Sniff::Tar => tar::read(self, place, depth.archive(self.limits())?, &mut source),
            Sniff::Zip => {
                let depth = depth.archive(self.limits())?;
                let mut file = tempfile::spooled_tempfile(SPOOL);
                io::copy(&mut source, &mut file)?;
                file.flush()?;
                zip::read(self, place, depth, &mut file)
            }
            Sniff::Utf16 { big } => self.text(place, &mut text::utf16(source, big)),
            Sniff::Closed(name) => {
                self.text(place, &mut source)?;
                Err(Why::Format(name))
            }
            Sniff::Braces => self.json(place, depth, source, false),
            Sniff::Other => self.text(place, &mut source),
        }
    }

    /// Undoes a coding, and searches what comes out.
    fn coded(&mut self, place: &Place, depth: Depth, coding: Coding, source: Source<'_>) -> Result<(), Why> {
        let depth = depth.coding(self.limits())?;
        let source = coding.undone(source, &self.budget);
        self.content(place, depth, source)
    }

    /// Searches the JSON message of a call.
    pub(super) fn message(&mut self, place: &Place, source: Source<'_>) -> Result<(), Why> {
        self.json(place, Depth::default(), source, true)
    }

    fn json(&mut self, place: &Place, depth: Depth, mut source: Source<'_>, strict: bool) -> Result<(), Why> {
        let most = self.limits().whole;
        let (whole, read) = read_most(&mut source, most);
        if let Err(why) = read {
            self.text(place, &mut &whole[..])?;
            return Err(why);
        }
        if whole.len() as u64 > most {
            self.text(place, &mut Cursor::new(whole).chain(source))?;
            return if strict { Err(Why::TooLarge(most)) } else { Ok(()) };
        }
        if whole.trim_ascii().is_empty() {
            self.collector.scanned(whole.len() as u64);
            return Ok(());
        }
        if !json::is_json(&whole) {
            self.text(place, &mut &whole[..])?;
            return if strict { Err(Why::Broken("JSON")) } else { Ok(()) };
        }
        let detectors = self.detectors();
        let mut flat = Flat::new(&mut self.collector, detectors, place, most);
        let walked = json::walk(&whole, &mut flat);
        let inner = flat.finish();
        self.inner(place, depth, inner);
        walked
    }

    /// Searches what stood in the values of a document, in base64.
    pub(super) fn inner(&mut self, place: &Place, depth: Depth, inner: Vec<Inner>) {
        for Inner { path, bytes } in inner {
            let place = place.path(&path);
            let searched = self.decoded(&place, depth, bytes);
            self.note(&place, searched);
        }
    }

    fn decoded(&mut self, place: &Place, depth: Depth, bytes: Vec<u8>) -> Result<(), Why> {
        let depth = depth.base64(self.limits())?;
        // What is coded twice is decoded twice; a third time nobody does.
        if depth.base64 < 2
            && let Some(again) = super::flat::base64(&bytes)
        {
            self.decoded(place, depth, again)?;
        }
        self.content(place, depth, Box::new(Cursor::new(bytes)))
    }

    fn form(&mut self, place: &Place, mut source: Source<'_>) -> Result<(), Why> {
        let whole = self.read_whole(&mut source)?;
        let detectors = self.detectors();
        let most = self.limits().whole;
        let mut flat = Flat::new(&mut self.collector, detectors, place, most);
        for pair in whole.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let name = halves.next().unwrap_or_default();
            let value = halves.next().unwrap_or_default();
            let name = String::from_utf8_lossy(&text::form_decoded(name)).into_owned();
            flat.value(&name, &name, &text::form_decoded(value));
        }
        let inner = flat.finish();
        self.inner(place, Depth::default(), inner);
        Ok(())
    }

    fn xml(&mut self, place: &Place, mut source: Source<'_>) -> Result<(), Why> {
        let whole = self.read_whole(&mut source)?;
        if let Sniff::Utf16 { big } = Sniff::of(&whole) {
            return self.text(place, &mut text::utf16(Box::new(Cursor::new(whole)), big));
        }
        self.text(place, &mut &text::without_references(&whole)[..])
    }

    /// Reads all of something that has to be read whole. What is longer is searched as text.
    pub(super) fn read_whole(&mut self, source: &mut dyn Read) -> Result<Vec<u8>, Why> {
        let most = self.limits().whole;
        let (whole, read) = read_most(source, most);
        let why = match read {
            Ok(()) if whole.len() as u64 <= most => return Ok(whole),
            Ok(()) => Why::TooLarge(most),
            Err(why) => why,
        };
        self.text(&Place::default(), &mut Cursor::new(whole).chain(source))?;
        Err(why)
    }

    /// Searches the name of a member of this archive.
    pub(super) fn name(&mut self, archive: &Place, mut name: &[u8]) -> Result<(), Why> {
        self.text(&archive.path("name of a member"), &mut name)
    }

    /// Searches something as text, or as bytes.
    pub(super) fn text(&mut self, place: &Place, source: &mut dyn Read) -> Result<(), Why> {
        let mut text = Text::new(self.detectors().scanner());
        let read = text.read(source, &mut self.collector, place);
        // What came before an error is searched to its end.
        let finished = text.finish(&mut self.collector, place);
        read.and(finished)
    }
}

impl Depth {
    pub(super) fn archive(self, limits: &Limits) -> Result<Self, Why> {
        let archives = self.archives + 1;
        within(archives, limits).map(|()| Self { archives, ..self })
    }

    fn coding(self, limits: &Limits) -> Result<Self, Why> {
        let codings = self.codings + 1;
        within(codings, limits).map(|()| Self { codings, ..self })
    }

    fn base64(self, limits: &Limits) -> Result<Self, Why> {
        let base64 = self.base64 + 1;
        within(base64, limits).map(|()| Self { base64, ..self })
    }
}

fn within(depth: u8, limits: &Limits) -> Result<(), Why> {
    match depth > limits.depth {
        true => Err(Why::Depth(limits.depth)),
        false => Ok(()),
    }
}

/// Reads at most so many bytes, and one more where there is one; up to an error, where there is one.
fn read_most(source: &mut dyn Read, most: u64) -> (Vec<u8>, Result<(), Why>) {
    let mut bytes = Vec::new();
    let read = source.take(most + 1).read_to_end(&mut bytes);
    (bytes, read.map(|_| ()).map_err(Why::from))
}

/// What is read in the place of something that failed before.
struct Failed(Option<Why>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0.take() {
            Some(why) => Err(why.into()),
            None => Ok(0),
        }
    }
}
