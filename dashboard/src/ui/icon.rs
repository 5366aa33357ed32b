//! Icons: strokes on a grid of 24, in the colour of the text. They never carry meaning alone.

use yew::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    Overview,
    Api,
    Key,
    Gauge,
    Chart,
    Money,
    Bell,
    Team,
    Audit,
    Plane,
    Settings,
    Plus,
    Search,
    Copy,
    Check,
    Close,
    More,
    Menu,
    Sun,
    Moon,
    System,
    Warning,
    Info,
    Refresh,
    Back,
    Next,
    Updown,
    Trash,
    Rotate,
    Pause,
    Play,
    Lock,
    Leave,
    Edit,
    Book,
    Bolt,
    Download,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "M4 4h7v9H4zM13 4h7v5h-7zM13 12h7v8h-7zM4 16h7v4H4z",
            Self::Api => "M7 8l-4 4 4 4M17 8l4 4-4 4M14 5l-4 14",
            Self::Key => {
                "M15 9a0 0 0 1 0 .01 0M21 9a6 6 0 0 1-8.2 5.6L11 16.5H9v2H7v2H3v-3.5l6.4-6.4A6 6 0 1 1 21 9z"
            }
            Self::Gauge => "M4.5 18a9 9 0 1 1 15 0M12 14l4-5M12 14a1 1 0 1 0 .01 0",
            Self::Chart => "M4 4v16h16M8 15l3.5-4 3 2.5L20 7",
            Self::Money => {
                "M12 3v18M16.5 7.5C16 6 14.5 5 12 5c-2.8 0-4.5 1.3-4.5 3.3C7.5 13 17 10.5 17 15.5c0 2.1-1.9 3.5-5 3.5-2.8 0-4.6-1.2-5-3"
            }
            Self::Bell => "M6 10a6 6 0 1 1 12 0c0 5 2 6 2 6H4s2-1 2-6M10 20a2.2 2.2 0 0 0 4 0",
            Self::Team => {
                "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14a6.5 6.5 0 0 1 3.5 6"
            }
            Self::Audit => "M7 3h7l5 5v13H7zM14 3v5h5M10 13h6M10 17h6",
            Self::Plane => "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01M12 8h5M12 16h5",
            Self::Settings => "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4M4 12h12M20 12h0M18 10v4",
            Self::Plus => "M12 5v14M5 12h14",
            Self::Search => "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
            Self::Copy => "M9 9h11v11H9zM5 15H4V4h11v1",
            Self::Check => "M5 12.5l4.5 4.5L19 7",
            Self::Close => "M6 6l12 12M18 6L6 18",
            Self::More => {
                "M6 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0M13 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0M20 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0"
            }
            Self::Menu => "M4 7h16M4 12h16M4 17h16",
            Self::Sun => {
                "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4"
            }
            Self::Moon => "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
            Self::System => "M3 5h18v12H3zM8 21h8M12 17v4",
            Self::Warning => "M12 4l9 16H3zM12 10v4M12 17h.01",
            Self::Info => "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8h.01",
            Self::Refresh => "M20 11a8 8 0 1 0-2.3 6M20 5v6h-6",
            Self::Back => "M14 6l-6 6 6 6",
            Self::Next => "M10 6l6 6-6 6",
            Self::Download => "M12 4v11M7 11l5 5 5-5M5 20h14",
            Self::Updown => "M8 9l4-4 4 4M8 15l4 4 4-4",
            Self::Trash => "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
            Self::Rotate => "M4 12a8 8 0 0 1 13.7-5.6L20 9M20 4v5h-5M20 12a8 8 0 0 1-13.7 5.6L4 15M4 20v-5h5",
            Self::Pause => "M8 5v14M16 5v14",
            Self::Play => "M7 4.5l12 7.5-12 7.5z",
            Self::Lock => "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
            Self::Leave => "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
            Self::Edit => "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
            Self::Book => {
                "M4 5.5A1.5 1.5 0 0 1 5.5 4H11v16H5.5A1.5 1.5 0 0 1 4 18.5zM20 5.5A1.5 1.5 0 0 0 18.5 4H13v16h5.5a1.5 1.5 0 0 0 1.5-1.5z"
            }
            Self::Bolt => "M13 3L5 14h6l-1 7 8-11h-6z",
        }
    }
}

#[derive(Properties, PartialEq)]
pub struct GlyphProps {
    pub icon: Icon,
    #[prop_or(18)]
    pub size: u16,
}

#[component]
pub fn Glyph(props: &GlyphProps) -> Html {
    let size = props.size.to_string();
    html! {
        <svg width={size.clone()} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
            stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
            <path d={props.icon.path()} />
        </svg>
    }
}

/// The mark of the product: a gauge that says "within limits".
#[component]
pub fn Mark() -> Html {
    html! {
        <svg width="30" height="30" viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="8" fill="#0b7a6b" />
            <path d="M7 20a9 9 0 0 1 15.4-6.3" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" />
            <path d="M25 20a9 9 0 0 0-.5-3" fill="none" stroke="#fbbf24" stroke-width="3" stroke-linecap="round" />
            <path d="m16 20 5.2-4.2" stroke="#fff" stroke-width="3" stroke-linecap="round" />
            <circle cx="16" cy="20" r="2.6" fill="#fff" />
        </svg>
    }
}
