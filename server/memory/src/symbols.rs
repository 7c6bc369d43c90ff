//! Texts as numbers, so that filters compare numbers.

use std::collections::HashMap;

/// Stands for a text: equal texts have equal symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// All texts and their symbols. A text stays until the bank is opened anew.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    of: HashMap<Box<str>, Symbol>,
    texts: Vec<Box<str>>,
}

impl Symbols {
    /// The symbol of a text, new or not.
    pub(crate) fn make(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.of.get(text) {
            return *symbol;
        }
        // Not more texts than slices have attributes: far below u32.
        let symbol = Symbol(self.texts.len() as u32);
        self.of.insert(text.into(), symbol);
        self.texts.push(text.into());
        symbol
    }

    /// The symbol of a text that has one.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.of.get(text).copied()
    }

    /// The text of a symbol.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.texts.get(symbol.0 as usize).map_or("", |text| text)
    }
}
