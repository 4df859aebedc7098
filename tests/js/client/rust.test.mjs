// The scenarios of docs/client.md on the Rust client.

import { rust } from "./adapters.mjs";
import { suite } from "./suite.mjs";

suite(rust);
