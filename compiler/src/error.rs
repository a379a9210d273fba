//! Errors that point at a field.

use std::fmt;

/// What is wrong with one field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field, as `spec.rules[2].methods[0]`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// Where in the field's text, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
}

/// A place in the text of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Inside {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl FieldError {
    /// An error at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            inside: None,
        }
    }

    /// The same, at a place in the field's text.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.inside = Some(Inside { line, column });
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match self.inside {
            Some(Inside { line: 1, column }) => write!(f, "column {column}: ")?,
            Some(Inside { line, column }) => write!(f, "line {line}, column {column}: ")?,
            None => {}
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong with a resource; never empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct FieldErrors(pub Vec<FieldError>);

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
