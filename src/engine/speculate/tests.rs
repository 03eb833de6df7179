use super::*;

fn tokens(text: &str) -> Vec<Token> {
    text.bytes().map(Token::from).collect()
}

fn guess(speculator: &Speculator, prompt: &str, answer: &str) -> String {
    let guess = speculator.guess(&tokens(prompt), &tokens(answer));
    guess
        .into_iter()
        .map(|token| char::from_u32(token).unwrap())
        .collect()
}

/// Steps of `base` milliseconds, and `each` more for a token.
fn measured(base: f64, each: f64, held: f64) -> Speculator {
    let mut speculator = Speculator::new(true);
    for round in 0..400 {
        let tokens = 1 + round % 5;
        let took = (base + each * tokens as f64) / 1000.0;
        speculator.note_step(tokens, Duration::from_secs_f64(took));
    }
    speculator.held = held;
    speculator
}

#[test]
fn what_a_sentence_quotes_of_the_prompt_is_guessed_from_it() {
    let speculator = Speculator::new(true);
    assert_eq!(
        guess(&speculator, "ask Rafiq Cement today", "the firm Raf"),
        "iq Cem"
    );
    assert_eq!(
        guess(&speculator, "ask Rafiq Cement today", "nothing of it"),
        ""
    );
}

#[test]
fn how_sentences_went_on_before_is_guessed_first() {
    let mut speculator = Speculator::new(true);
    speculator.remember(&tokens("Rule 5: the draft states"));
    assert_eq!(guess(&speculator, "Rule 5b", "Rule 5"), ": the ");
}

#[test]
fn the_longest_run_that_came_before_tells_most() {
    let mut speculator = Speculator::new(true);
    speculator.remember(&tokens("a low sum"));
    speculator.remember(&tokens("yellow car"));
    assert_eq!(guess(&speculator, "", "a low"), " sum");
}

#[test]
fn guesses_are_checked_where_a_longer_step_costs_little() {
    assert_eq!(measured(100.0, 1.0, 0.9).depth(1, 1, 1), LONGEST_GUESS);
    assert!(measured(20.0, 16.0, 0.8).depth(1, 1, 1) >= 1);
}

#[test]
fn guesses_are_left_where_each_token_costs_its_share_or_most_do_not_hold() {
    assert_eq!(measured(0.0, 10.0, 0.9).depth(1, 1, 1), 0);
    assert_eq!(measured(20.0, 16.0, 0.2).depth(1, 1, 1), 0);
    assert_eq!(measured(20.0, 16.0, 0.7).depth(4, 4, 4), 0);
}

#[test]
fn before_anything_is_measured_nothing_is_guessed_to_be_worth_it() {
    assert_eq!(Speculator::new(true).depth(1, 1, 1), 0);
}

#[test]
fn turned_off_it_guesses_nothing() {
    let mut speculator = Speculator::new(false);
    speculator.remember(&tokens("Rule 5: the draft states"));
    assert_eq!(guess(&speculator, "Rule 5: the", "Rule 5"), "");
}
