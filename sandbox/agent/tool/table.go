package tool

import (
	"context"
	"encoding/json"
)

// A Definition is what a model is told about a tool.
type Definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"` // a JSON schema
}

// Definitions returns all tools.
func Definitions() []Definition {
	all := make([]Definition, len(table))
	for i, t := range table {
		all[i] = t.Definition
	}
	return all
}

type tool struct {
	Definition
	run func(*Box, context.Context, Call) (Result, error)
}

var table = []tool{
	{define(
		"bash", `Run a shell command. The working directory stays as the command leaves it. Output is stdout and stderr together; long output is cut in the middle and kept whole in a file. For reading, searching and changing files use read, grep, glob and edit instead.`,
		`{"type":"object","required":["command"],"properties":{
			"command":{"type":"string","description":"The command"},
			"timeout":{"type":"integer","description":"Seconds until it is killed (default 120, at most 1800)"},
			"description":{"type":"string","description":"What it does, in a few words"}}}`,
	), (*Box).bash},
	{define(
		"read", `Read a text file with line numbers, or list a directory. Shows up to 2000 lines; go on with offset.`,
		`{"type":"object","required":["path"],"properties":{
			"path":{"type":"string","description":"The file or directory"},
			"offset":{"type":"integer","description":"First line, counted from 1"},
			"limit":{"type":"integer","description":"How many lines"}}}`,
	), with((*Box).read)},
	{define(
		"write", `Write a whole file, new or in place of an old one. Parent directories are made. To change a part of a file use edit.`,
		`{"type":"object","required":["path","content"],"properties":{
			"path":{"type":"string","description":"The file"},
			"content":{"type":"string","description":"All of its new content"}}}`,
	), with((*Box).write)},
	{define(
		"edit", `Replace text in a file. old must be in the file exactly once, character for character, without the line numbers of read: take in some lines around it to make it unique. With replace_all every occurrence is replaced.`,
		`{"type":"object","required":["path","old","new"],"properties":{
			"path":{"type":"string","description":"The file"},
			"old":{"type":"string","description":"The text to replace"},
			"new":{"type":"string","description":"The text to put there"},
			"replace_all":{"type":"boolean","description":"Replace every occurrence"}}}`,
	), with((*Box).edit)},
	{define(
		"glob", `Find files by name, newest first. Patterns know *, ?, [a-z], {a,b} and ** for any directories; one without / is looked for in every directory. Leaves out .git and node_modules.`,
		`{"type":"object","required":["pattern"],"properties":{
			"pattern":{"type":"string","description":"Such as **/*_test.go"},
			"path":{"type":"string","description":"Where to look (default: working directory)"}}}`,
	), with((*Box).glob)},
	{define(
		"grep", `Search the content of files with a regular expression (RE2), line by line. Leaves out .git, node_modules, binary and very large files.`,
		`{"type":"object","required":["pattern"],"properties":{
			"pattern":{"type":"string","description":"The regular expression"},
			"path":{"type":"string","description":"File or directory (default: working directory)"},
			"glob":{"type":"string","description":"Only files whose name fits, such as *.go"},
			"case_insensitive":{"type":"boolean","description":"Take upper and lower case as the same"},
			"context":{"type":"integer","description":"Lines to show around each match"}}}`,
	), with((*Box).grep)},
	{define(
		"save_memory", `Remember one rule or fact for all later sessions. Use it for lasting feedback of the user, phrased in general; not for what matters to this task only, and never for secrets.`,
		`{"type":"object","required":["text"],"properties":{
			"text":{"type":"string","description":"What to remember"},
			"tags":{"type":"array","items":{"type":"string"},"description":"One to four words to find it by"},
			"type":{"type":"string","description":"convention, constraint, reference or preference"},
			"priority":{"type":"integer","description":"0 to 5, 5 for what matters most"},
			"pinned":{"type":"boolean","description":"Show it in every session"}}}`,
	), with((*Box).saveMemory)},
	{define(
		"search_memory", `Search what was remembered in earlier sessions. Look before you finish work, and when the user speaks of an earlier agreement.`,
		`{"type":"object","properties":{
			"query":{"type":"string","description":"Text to look for"},
			"tags":{"type":"array","items":{"type":"string"},"description":"Tags that must all be there"}}}`,
	), with((*Box).searchMemory)},
}

func define(name, description, parameters string) Definition {
	return Definition{Name: name, Description: description, Parameters: json.RawMessage(parameters)}
}
