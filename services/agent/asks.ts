/** Messages that greet, thank, agree or part, and ask nothing. */
const SMALL_TALK =
  /^(?:(?:hi|hello|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day|night)|thanks|thank you|thx|cheers|many thanks|ok|okay|alright|fine|great|perfect|nice|cool|awesome|good|well done|got it|i see|understood|yes|no|yep|nope|sure|bye|goodbye|see you|see you later|that(?:'s| is) (?:all|great|good|fine|it|helpful|perfect)|how are you|hallo|danke|merci|bonjour|gracias|hola|ciao)(?: (?:there|all|everyone|you|so much|very much|a lot|again|for (?:the|your) (?:help|answer)|then|now|today|doing))*[\s,.!?…👍🙂-]*)+$/iu;

/** Whether a message asks for something that the documents may hold. */
export function asksSomething(message: string): boolean {
  const text = message.trim().replace(/[’]/g, "'").replace(/\s+/g, " ");
  // No greeting is this long, and the pattern need not look at more.
  if (text.length > 100) return true;
  return /[\p{L}\p{N}]/u.test(text) && !SMALL_TALK.test(text);
}
