import { mount } from "svelte";

import "./page.css";
import Page from "./Page.svelte";
import { begin_theme } from "./parts/theme";

begin_theme();
mount(Page, { target: document.getElementById("page")! });
