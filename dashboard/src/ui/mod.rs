//! The components that pages are made of. `/design` shows each in all its states.

pub mod badge;
pub mod button;
pub mod card;
pub mod copy;
pub mod dialog;
pub mod editor;
pub mod empty;
pub mod field;
pub mod go;
pub mod icon;
pub mod menu;
pub mod notice;
pub mod pager;
pub mod range;
pub mod rows;
pub mod table;
pub mod tabs;
pub mod toast;

pub use badge::{Badge, Tone};
pub use button::{Button, Kind};
pub use card::{Card, Meter, Stat};
pub use copy::{Code, CopyField};
pub use dialog::{Confirm, Dialog};
pub use editor::FormFoot;
pub use empty::{Empty, Failed, Forbidden, Skeletons};
pub use field::{CheckList, PickField, SelectField, SwitchField, TextArea, TextField};
pub use go::{Go, use_go, use_guard};
pub use icon::{Glyph, Icon};
pub use menu::Menu;
pub use notice::Notice;
pub use pager::Pager;
pub use range::{Live, RangePicker};
pub use rows::Rows;
pub use table::{Column, Row, Table};
pub use tabs::Tabs;
pub use toast::{ToastArea, Toaster, use_say};
