//! Any text is a formula or an error: no panic, no endless loop. What parses prints, reads back the same, has a canonical
//! form that is its own, can be evaluated and can be emitted. The same for the text of a loss.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lossmith::expr::emit::Language;
use lossmith::expr::{CLASS_VARIABLES, Expr};
use lossmith::loss::{ClassLoss, Spec};

fuzz_target!(|text: &str| {
    let _ = Spec::parse(text).map(|spec| spec.build());
    let Ok(expr) = Expr::parse(text, CLASS_VARIABLES) else { return };
    let printed = expr.display(CLASS_VARIABLES).to_string();
    // Brackets may put a printed text over the limits; then it is an error, not another formula.
    if let Ok(again) = Expr::parse(&printed, CLASS_VARIABLES) {
        assert_eq!(again, expr, "{printed}");
    }
    let _ = expr.canonical().fingerprint();
    let loss = ClassLoss::from_formula(expr);
    let _ = loss.value(&[0.5, -1.0, 100.0], &[1], 3);
    for (language, _) in Language::ALL {
        let _ = loss.source(language, text, text);
    }
});
