//! Pickles of plain data: lists, tuples, dictionaries, texts, numbers and numpy's arrays of numbers.
//!
//! A pickle is a program. This reads the few of its instructions that put such data together, and builds nothing else: whatever
//! names another class or function is refused by that name, and nothing is ever called.

use std::collections::HashMap;

use super::array::{Array, Kind};

/// Where a value is among all values: values that refer to each other cost no more than the file is long.
pub type At = usize;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Whole(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A list or a tuple.
    List(Vec<At>),
    Dict(Vec<(At, At)>),
    Array(Box<Array>),
    Kind(Kind),
    /// A class or function that is known; never called.
    Known(Known),
    /// An array that has no content yet.
    Empty,
}

/// The functions and classes of numpy that stand for arrays, and what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Reconstruct,
    FromBuffer,
    Scalar,
    Ndarray,
    Dtype,
    Encode,
    Bytes,
    OrderedDict,
}

impl Known {
    fn of(module: &str, name: &str) -> Result<Self, String> {
        let module_of_numpy = module.replace("numpy._core", "numpy.core");
        Ok(match (module_of_numpy.as_str(), name) {
            ("numpy.core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.numeric", "_frombuffer") => Self::FromBuffer,
            ("numpy.core.multiarray", "scalar") => Self::Scalar,
            ("numpy", "ndarray") => Self::Ndarray,
            ("numpy", "dtype") => Self::Dtype,
            ("_codecs", "encode") => Self::Encode,
            ("builtins" | "__builtin__", "bytes") => Self::Bytes,
            ("collections", "OrderedDict") => Self::OrderedDict,
            _ => {
                return Err(format!(
                    "it needs {module}.{name}; only lists, dictionaries, texts, numbers and numpy's arrays of numbers are read"
                ));
            }
        })
    }
}

/// All values of a pickle, and which one it is about.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    top: At,
}

impl Pickle {
    /// Reads a pickle of any protocol.
    ///
    /// # Errors
    /// No pickle, one that is cut off, or one of anything but plain data: the message names what.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            left: 2 * bytes.len(),
        };
        let top = machine.run()?;
        Ok(Self { values: machine.values, top })
    }

    /// What the pickle is about.
    pub fn top(&self) -> &Value {
        &self.values[self.top]
    }

    /// A value.
    pub fn get(&self, at: At) -> &Value {
        &self.values[at]
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<At>,
    marks: Vec<usize>,
    memo: HashMap<u64, At>,
    /// How many bytes may still be copied into arrays: each byte of the file is wanted once or twice, not a thousand times.
    left: usize,
}

/// No more values than this are read.
const MOST_VALUES: usize = 20_000_000;

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<At> {
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                op => self.step(op)?,
            }
        }
    }

    fn step(&mut self, op: u8) -> Step<()> {
        match op {
            // Protocol and frames: how the rest is written, not what it says.
            0x80 => self.byte().map(drop),
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.since_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | b'F' | b'G' => self.number(op),
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => self.text(op),
            b']' | b')' => self.push(Value::List(Vec::new())),
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(op - 0x84)).ok_or_else(short)?;
                self.above(first)?;
                let items = self.stack.split_off(first);
                self.push(Value::List(items))
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = pairs(self.since_mark()?)?;
                self.push(Value::Dict(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])
            }
            b'u' => {
                let items = pairs(self.since_mark()?)?;
                self.set(items)
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.remember(op),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Known(Known::of(&module, &name)?))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name]) else {
                    return Err("a name that is no text".to_owned());
                };
                let known = Known::of(module, name)?;
                self.push(Value::Known(known))
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            _ => Err(format!("an instruction 0x{op:02x} that plain data does not need (or no pickle at all)")),
        }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|b| b[0])
    }

    /// A little-endian number of up to eight bytes.
    fn size(&mut self, bytes: usize) -> Step<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Step<String> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or_else(short)?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= MOST_VALUES {
            return Err(format!(
                "more than {MOST_VALUES} values: expected numpy's arrays in the place of lists of numbers"
            ));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// What is below the last mark is out of reach.
    fn above(&self, place: usize) -> Step<()> {
        if self.marks.last().is_some_and(|mark| place < *mark) { Err(short()) } else { Ok(()) }
    }

    fn pop(&mut self) -> Step<At> {
        self.above(self.stack.len().checked_sub(1).ok_or_else(short)?)?;
        self.stack.pop().ok_or_else(short)
    }

    fn top(&self) -> Step<At> {
        self.stack.last().copied().ok_or_else(short)
    }

    fn since_mark(&mut self) -> Step<Vec<At>> {
        let mark = self.marks.pop().ok_or_else(short)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn number(&mut self, op: u8) -> Step<()> {
        let whole =
            |text: &str| text.parse().map(Value::Whole).map_err(|_| format!("'{text}' is no number that is read"));
        let value = match op {
            b'I' => match self.line()?.as_str() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                text => whole(text)?,
            },
            b'L' => whole(self.line()?.trim_end_matches('L'))?,
            b'J' => Value::Whole(i64::from(self.size(4)? as u32 as i32)),
            b'K' => Value::Whole(self.size(1)? as i64),
            b'M' => Value::Whole(self.size(2)? as i64),
            0x8a => {
                let bytes = usize::from(self.byte()?);
                if bytes > 8 {
                    return Err(format!("a whole number of {bytes} bytes: expected 8 at most"));
                }
                let spare = 64 - 8 * bytes as u32;
                let number = self.size(bytes)?;
                Value::Whole(if bytes == 0 { 0 } else { (number << spare) as i64 >> spare })
            }
            b'F' => {
                let text = self.line()?;
                Value::Float(text.parse().map_err(|_| format!("'{text}' is no number"))?)
            }
            _ => Value::Float(f64::from_bits(self.size(8)?.swap_bytes())),
        };
        self.push(value)
    }

    fn text(&mut self, op: u8) -> Step<()> {
        if matches!(op, b'S' | b'V') {
            let line = self.line()?;
            let bare = if op == b'S' { line.trim().trim_matches(['\'', '"']).to_owned() } else { line };
            if bare.contains('\\') {
                return Err("a text with escapes, as protocol 0 writes it: expected protocol 2 or later".to_owned());
            }
            return self.push(Value::Text(bare));
        }
        let width = match op {
            b'U' | b'C' | 0x8c => 1,
            0x8d | 0x8e | 0x96 => 8,
            _ => 4,
        };
        let length = usize::try_from(self.size(width)?).map_err(|_| short())?;
        let bytes = self.take(length)?.to_vec();
        let value = match op {
            b'X' | 0x8c | 0x8d => {
                Value::Text(String::from_utf8(bytes).map_err(|_| "a text that is no UTF-8".to_owned())?)
            }
            // What Python 2 calls a text may be either.
            b'T' | b'U' => String::from_utf8(bytes).map_or_else(|e| Value::Bytes(e.into_bytes()), Value::Text),
            _ => Value::Bytes(bytes),
        };
        self.push(value)
    }

    fn remember(&mut self, op: u8) -> Step<()> {
        let key = match op {
            b'p' | b'g' => self.line()?.trim().parse().map_err(|_| "a place in memory that is no number".to_owned())?,
            b'q' | b'h' => self.size(1)?,
            b'r' | b'j' => self.size(4)?,
            _ => self.memo.len() as u64,
        };
        if matches!(op, b'g' | b'h' | b'j') {
            let value = *self.memo.get(&key).ok_or_else(|| format!("nothing is kept at {key}"))?;
            self.stack.push(value);
        } else {
            let value = self.top()?;
            self.memo.insert(key, value);
        }
        Ok(())
    }

    fn extend(&mut self, items: Vec<At>) -> Step<()> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(own) => {
                own.extend(items);
                Ok(())
            }
            _ => Err("an item for what is no list".to_owned()),
        }
    }

    fn set(&mut self, items: Vec<(At, At)>) -> Step<()> {
        let dict = self.top()?;
        match &mut self.values[dict] {
            Value::Dict(own) => {
                own.extend(items);
                Ok(())
            }
            _ => Err("a key for what is no dictionary".to_owned()),
        }
    }

    /// What a known function makes of its arguments.
    fn reduce(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Known(known) = self.values[function] else { return Err("a call of what is no function".to_owned()) };
        let arguments = self.few(arguments)?;
        let value = match (known, &arguments[..]) {
            (Known::Reconstruct, [Value::Known(Known::Ndarray), ..]) => Value::Empty,
            (Known::Dtype, [Value::Text(text), ..]) => Value::Kind(Kind::parse(text)?),
            (Known::Scalar, [Value::Kind(kind), bytes]) => Value::Float(kind.number(content(bytes)?)?),
            (Known::FromBuffer, [bytes, Value::Kind(kind), shape, Value::Text(order), ..]) => {
                self.array(shape, *kind, order == "F", bytes)?
            }
            // How Python 3 writes bytes in protocol 2: as a text of their numbers.
            (Known::Encode, [Value::Text(text), ..]) => {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                Value::Bytes(bytes.ok_or("bytes that are none")?)
            }
            (Known::Bytes, []) => Value::Bytes(Vec::new()),
            (Known::OrderedDict, []) => Value::Dict(Vec::new()),
            _ => return Err(format!("a use of {known:?} that plain arrays do not need")),
        };
        self.pay(&value)?;
        self.push(value)
    }

    /// The content of an array, or the order of bytes of a type of numbers.
    fn build(&mut self) -> Step<()> {
        let (state, target) = (self.pop()?, self.top()?);
        let state = self.few(state)?;
        let built = match (&self.values[target], &state[..]) {
            (Value::Empty, [_, shape, Value::Kind(kind), columns_first, bytes]) => {
                self.array(shape, *kind, matches!(columns_first, Value::Bool(true) | Value::Whole(1)), bytes)?
            }
            (Value::Kind(kind), [_, Value::Text(order), Value::None, Value::None, Value::None, ..]) => {
                Value::Kind(kind.ordered(order))
            }
            _ => return Err("a state that plain arrays of numbers do not have".to_owned()),
        };
        self.pay(&built)?;
        self.values[target] = built;
        Ok(())
    }

    /// What is copied is counted.
    fn pay(&mut self, value: &Value) -> Step<()> {
        let copied = match value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Array(array) => array.bytes(),
            _ => 0,
        };
        self.left = self.left.checked_sub(copied).ok_or("the same bytes are used again and again")?;
        Ok(())
    }

    /// The values of a short tuple.
    fn few(&self, at: At) -> Step<Vec<&Value>> {
        match &self.values[at] {
            Value::List(items) if items.len() < 16 => Ok(items.iter().map(|at| &self.values[*at]).collect()),
            _ => Err("arguments or a state that plain data does not have".to_owned()),
        }
    }

    fn array(&self, shape: &Value, kind: Kind, columns_first: bool, bytes: &Value) -> Step<Value> {
        let array = Array::new(self.shape(shape)?, kind, columns_first, content(bytes)?.to_vec())?;
        Ok(Value::Array(Box::new(array)))
    }

    fn shape(&self, shape: &Value) -> Step<Vec<usize>> {
        let Value::List(sides) = shape else { return Err("a shape that is no tuple".to_owned()) };
        if sides.len() > 8 {
            return Err(format!("an array of {} dimensions", sides.len()));
        }
        let side = |at: &At| match self.values[*at] {
            Value::Whole(side) => usize::try_from(side).map_err(|_| format!("a side of {side}")),
            _ => Err("a side that is no whole number".to_owned()),
        };
        sides.iter().map(side).collect()
    }
}

fn content(value: &Value) -> Step<&[u8]> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Text(text) => Ok(text.as_bytes()),
        _ => Err("an array whose content is no bytes (an array of objects?): expected numbers".to_owned()),
    }
}

fn pairs(items: Vec<At>) -> Step<Vec<(At, At)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()) } else { Err(short()) }
}

fn short() -> String {
    "it is no pickle, or cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        Pickle::read(bytes).unwrap_err()
    }

    #[test]
    fn plain_data_is_read() {
        // pickle.dumps({"a": [1, -2, 1.5, None, True], "b": (300,)}, 2), and what a protocol of texts makes of [1, 'x'].
        let pickle = Pickle::read(
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG?\xf8\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00bq\x03M,\x01\x85q\x04u.",
        )
        .unwrap();
        let Value::Dict(items) = pickle.top() else { panic!("{:?}", pickle.top()) };
        assert_eq!(pickle.get(items[0].0), &Value::Text("a".to_owned()));
        let Value::List(list) = pickle.get(items[0].1) else { panic!("a list") };
        let list: Vec<&Value> = list.iter().map(|at| pickle.get(*at)).collect();
        assert_eq!(list, [&Value::Whole(1), &Value::Whole(-2), &Value::Float(1.5), &Value::None, &Value::Bool(true)]);
        assert!(
            matches!(Pickle::read(b"(lp0\nI1\naS'x'\np1\na.").unwrap().top(), Value::List(items) if items.len() == 2)
        );
    }

    #[test]
    fn code_is_refused_by_its_name() {
        // What runs a command where pickle.load reads it.
        assert!(error(b"cos\nsystem\n(S'echo harm'\ntR.").contains("it needs os.system; only lists"));
        assert!(error(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.").contains("it needs builtins.eval"));
        let torch = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00.";
        assert!(error(torch).contains("it needs torch._utils._rebuild_tensor_v2"));
        // A class made without a call, an object of another process, an object by its number.
        for instruction in [&b"\x80\x02N\x81."[..], b"Psomething\n.", b"\x82\x01.", b"(i__main__\nX\n."] {
            assert!(error(instruction).contains("that plain data does not need"), "{}", error(instruction));
        }
        // Known functions are not called with what they are not meant for.
        assert!(error(b"cnumpy\ndtype\n(S'O8'\ntR.").contains("type 'O8'"));
        assert!(error(b"cnumpy.core.multiarray\n_reconstruct\n(I1\ntR.").contains("plain arrays do not need"));
    }

    #[test]
    fn what_is_cut_off_or_grows_without_end_is_refused() {
        for bytes in
            [&b""[..], b"(", b".", b"]a.", b"0.", b"(0.", b"\x80", b"X\xff\xff\xff\xffab", b"h\x05.", b"(K\x01d."]
        {
            let message = error(bytes);
            assert!(message.contains("cut off") || message.contains("nothing is kept"), "{message}");
        }
        // A list that holds itself is one value.
        assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
        // Many arrays of the same bytes.
        let bytes = [&b"B\x00\x01\x00\x00"[..], &[7; 256], b"q\x000cnumpy\ndtype\n(U\x02u1tRq\x010"].concat();
        let array = b"cnumpy.core.numeric\n_frombuffer\n(h\x00h\x01(M\x00\x01tU\x01CtR0";
        let one = [&bytes[..], array, b"N."].concat();
        assert!(Pickle::read(&one).is_ok(), "{:?}", Pickle::read(&one));
        let many = [&bytes[..], &array.repeat(50), b"N."].concat();
        assert!(error(&many).contains("again and again"));
    }
}
