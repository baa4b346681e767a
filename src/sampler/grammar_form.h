// Grammars as JSON describes them: what the JavaScript side puts together for answers with calls of tools.
//
//   {"rules": [part, ...], "schemas": [schema, ...], "root": part}, where schemas may be missing, and a part is one of
//   "text"                              this text
//   {"seq": [part, ...]}                one after another
//   {"any": [part, ...]}                one of them
//   {"repeat": [part, least, most]}     least to most times; most null: any number from least on
//   {"class": [[first, last], ...]}     one character, of these code points
//   {"except": [[first, last], ...]}    one character, of the others
//   {"rule": index}                     what rules[index] is
//   {"without": [part, "text"]}         the part, but for texts in which this one occurs
//   {"token": id}                       this special token
//   {"schema": schema}                  JSON that the JSON Schema describes (json_schema.h)
//   {"member": [index, name]}           JSON of the member `name` of an object that schemas[index] describes
//   {"member": [index, name, "text"]}   the same of a string as it is, without quotes and escapes, in which the text does not occur, or of null
#ifndef CHORD_SAMPLER_GRAMMAR_FORM_H
#define CHORD_SAMPLER_GRAMMAR_FORM_H

#include "base/json.h"
#include "sampler/grammar.h"

// The root's node. What is not of this form fails the builder, as do schemas that json_schema.h refuses. `account`: of scratch memory.
uint32_t grammar_form(struct grammar_builder *builder, const struct json_value *form, struct memory_account *account);

// The grammar of a form's text.
enum chord_status grammar_form_compile(const char *text, uint64_t n_bytes, struct memory_account *account,
                                       struct grammar **out, struct chord_error *err);

#endif
