import { describe, expect, test } from "vitest";
import { stemEnglish } from "./porter2.js";

// As stemmed by the Snowball project's own implementation, release 3.1.
const stems: Record<string, Record<string, string>> = {
  plurals: {
    caresses: "caress", ponies: "poni", ties: "tie", cats: "cat", gas: "gas", this: "this", gaps: "gap",
    kiwis: "kiwi", buses: "buse", status: "status", ids: "id", dies: "die", cries: "cri",
  },
  "past and progressive": {
    agreed: "agre", feed: "feed", proceeded: "proceed", succeeded: "succeed", succeed: "succeed", exceed: "exceed",
    exceeds: "exceed", proceeding: "proceed", hoped: "hope", hoping: "hope", hopping: "hop", hopped: "hop",
    luxuriating: "luxuri", conflated: "conflat", troubled: "troubl", sized: "size", falling: "fall", hissing: "hiss",
    fizzed: "fizz", failing: "fail", filing: "file", bearing: "bear", greased: "greas", greasing: "greas",
    herring: "herring", outing: "outing", evening: "evening", inning: "inning", canning: "canning", dying: "die",
    lying: "lie", saying: "say", added: "add", egging: "egg", ebbed: "ebb", ebbing: "ebb", inned: "in",
    played: "play",
  },
  "final y": {
    happy: "happi", sky: "sky", by: "by", say: "say", enjoy: "enjoy", cry: "cri", cries: "cri", fly: "fli",
    flying: "fli", apply: "appli", applied: "appli",
  },
  "longer suffixes": {
    relational: "relat", conditional: "condit", rational: "ration", valency: "valenc", hesitancy: "hesit",
    digitizer: "digit", conformably: "conform", radically: "radic", differently: "differ", vilely: "vile",
    analogously: "analog", vietnamization: "vietnam", predication: "predic", operator: "oper", feudalism: "feudal",
    decisiveness: "decis", hopefulness: "hope", callousness: "callous", formality: "formal", sensitivity: "sensit",
    sensibility: "sensibl", triplicate: "triplic", formative: "format", formalize: "formal", electricity: "electr",
    electrical: "electr", hopeful: "hope", goodness: "good", geologist: "geolog", apology: "apolog", quickly: "quick",
    friendly: "friend", helplessly: "helpless",
  },
  "suffixes in the second region": {
    revival: "reviv", allowance: "allow", inference: "infer", airliner: "airlin", gyroscopic: "gyroscop",
    adjustable: "adjust", defensible: "defens", irritant: "irrit", replacement: "replac", adjustment: "adjust",
    dependent: "depend", adoption: "adopt", communism: "communism", activate: "activ", angularity: "angular",
    homologous: "homolog", effective: "effect", bowdlerize: "bowdler",
  },
  "final letters": {
    probate: "probat", rate: "rate", cease: "ceas", controll: "control", roll: "roll",
  },
  "regions with a fixed beginning": {
    generate: "generat", generates: "generat", general: "general", generally: "general", generic: "generic",
    generous: "generous", communicate: "communic", communication: "communic", communism: "communism",
    community: "communiti", arsenal: "arsenal", arsenic: "arsenic", university: "universiti", universal: "universal",
    universe: "univers", emerge: "emerg", emergency: "emergenc", international: "internat", later: "later",
    lateral: "lateral", organization: "organiz", organize: "organiz", organic: "organic", past: "past",
    pasted: "paste", pasting: "paste",
  },
  exceptions: {
    skis: "ski", skies: "sky", idly: "idl", gently: "gentl", ugly: "ugli", early: "earli", only: "onli",
    singly: "singl", sky: "sky", news: "news", howe: "howe", atlas: "atlas", cosmos: "cosmos", bias: "bias",
    andes: "andes",
  },
  "the letter y as a consonant": {
    youth: "youth", yellow: "yellow", boyish: "boyish", sayer: "sayer", employee: "employe", employing: "employ",
    layered: "layer", yes: "yes",
  },
  "short words": {
    a: "a", at: "at", is: "is", be: "be", do: "do", ok: "ok",
  },
  "technical words": {
    connect: "connect", connected: "connect", connecting: "connect", connection: "connect", connections: "connect",
    configuration: "configur", configured: "configur", configuring: "configur", tokenization: "token",
    tokenizer: "token", embedding: "embed", embeddings: "embed", retrieval: "retriev", retrieve: "retriev",
    retrieving: "retriev", queries: "queri", query: "queri", queried: "queri", indices: "indic", indexes: "index",
    indexing: "index", caches: "cach", caching: "cach", cached: "cach", valves: "valv", valve: "valv",
    lithium: "lithium", requests: "request", request: "request", limiting: "limit", limiter: "limit", limits: "limit",
    documents: "document", documentation: "document", database: "databas", databases: "databas", replica: "replica",
    replicas: "replica", replication: "replic",
  },
};

describe.each(Object.entries(stems))("%s", (_group, pairs) => {
  test.each(Object.entries(pairs))("%s becomes %s", (word, stem) => {
    expect(stemEnglish(word)).toBe(stem);
  });
});
