//! The terminal as a screen to draw on.
//!
//! Promise: however the command ends, by a key, an error, a signal or a panic, the terminal is given back as it was.

use std::{io, time::Duration};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    style::{Color, Modifier, Style},
    text::Span,
};
use tokio::sync::mpsc;

use super::{
    Error,
    table::{Paint, Palette},
};

/// How long the thread that reads keys goes without looking whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Keys read ahead; when full, reading waits.
const KEYS_AHEAD: usize = 16;

/// The terminal's other screen, in raw mode.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    inputs: mpsc::Receiver<Input>,
}

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Pressed a key.
    Key(KeyCode),
    /// Asked to leave: `q`, Esc, Ctrl-C or Ctrl-D.
    Leave,
    /// Changed the terminal's size.
    Resize,
}

impl Screen {
    /// Takes the terminal over. Must be called within a runtime; a panic anywhere gives the terminal back before it is
    /// reported.
    ///
    /// # Errors
    /// [`Error::Output`] when the terminal refuses.
    pub(super) fn open() -> Result<Self, Error> {
        let terminal = ratatui::try_init().map_err(|error| {
            ratatui::restore();
            Error::Output(error)
        })?;
        let (sender, inputs) = mpsc::channel(KEYS_AHEAD);
        tokio::task::spawn_blocking(move || read_inputs(&sender));
        Ok(Screen { terminal, inputs })
    }

    /// Draws one frame.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), Error> {
        self.terminal.draw(render).map(|_| ()).map_err(Error::Output)
    }

    /// What the person does next; [`Input::Leave`] when the terminal is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn input(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::Leave)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn read_inputs(sender: &mpsc::Sender<Input>) {
    let next = || -> io::Result<Option<Input>> {
        match event::poll(LOOK_EVERY)? {
            true => Ok(input(&event::read()?)),
            false => Ok(None),
        }
    };
    while !sender.is_closed() {
        match next() {
            Ok(Some(input)) if sender.blocking_send(input).is_err() => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn input(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(pressed(*key)),
        Event::Resize(..) => Some(Input::Resize),
        _ => None,
    }
}

fn pressed(key: KeyEvent) -> Input {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Input::Leave,
        KeyCode::Char('c' | 'd') if control => Input::Leave,
        code => Input::Key(code),
    }
}

impl Palette {
    /// How `paint` looks on a screen. Only the terminal's own sixteen colours are used, and none for the background:
    /// they are legible on light and dark alike.
    pub(super) fn style(self, paint: Paint) -> Style {
        let coloured = |colour| if self.colours { Style::new().fg(colour) } else { Style::new() };
        match paint {
            Paint::Plain => Style::new(),
            Paint::Strong => Style::new().add_modifier(Modifier::BOLD),
            Paint::Quiet => Style::new().add_modifier(Modifier::DIM),
            Paint::Good => coloured(Color::Green),
            Paint::Warn => coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Paint::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

/// `text` in at most `width` columns of the terminal; an ellipsis marks a cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    let whole = Span::raw(text);
    if whole.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut left) = (String::new(), width);
    for grapheme in whole.styled_graphemes(Style::new()) {
        let wide = Span::raw(grapheme.symbol).width();
        if wide >= left {
            break;
        }
        kept.push_str(grapheme.symbol);
        left -= wide;
    }
    kept.extend((width > 0).then_some('…'));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_leave_is_understood() {
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
            (KeyCode::Char('d'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(pressed(KeyEvent::new(code, modifiers)), Input::Leave);
        }
        let plain = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE);
        assert_eq!(pressed(plain), Input::Key(KeyCode::Char('c')));
    }

    #[test]
    fn a_text_is_cut_to_the_columns_it_takes() {
        for (text, width, kept) in [
            ("price", 5, "price"),
            ("price", 4, "pri…"),
            ("price", 1, "…"),
            ("price", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(cut(text, width), kept, "{text} in {width}");
        }
    }

    #[test]
    fn without_colours_no_colour_is_used() {
        for paint in [Paint::Plain, Paint::Strong, Paint::Quiet, Paint::Good, Paint::Warn, Paint::Bad] {
            let style = Palette { colours: false }.style(paint);
            assert_eq!((style.fg, style.bg), (None, None), "{paint:?}");
        }
    }
}
