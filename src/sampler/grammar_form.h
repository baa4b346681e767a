// Grammars as JSON describes them: what the JavaScript side puts together for answers with calls of tools.
//
//   {"rules": [part, ...], "root": part}, and a part is one of
//   "text"                              this text
//   {"seq": [part, ...]}                one after another
//   {"any": [part, ...]}                one of them
//   {"repeat": [part, least, most]}     least to most times; most null: any number from least on
//   {"class": [[first, last], ...]}     one character, of these code points
//   {"except": [[first, last], ...]}    one character, of the others
//   {"rule": index}                     what rules[index] is
//   {"token": id}                       this special token
//   {"schema": schema}                  JSON that the JSON Schema describes
#ifndef CHORD_SAMPLER_GRAMMAR_FORM_H
#define CHORD_SAMPLER_GRAMMAR_FORM_H

#include "base/json.h"
#include "sampler/grammar.h"

// The node of a JSON Schema; 0 when the builder has failed.
typedef uint32_t grammar_schema_node(struct grammar_builder *builder, const struct json_value *schema, void *context);

// The root's node. What is not of this form fails the builder, as do schemas that `schema_node` refuses. `account`: of scratch memory.
uint32_t grammar_form(struct grammar_builder *builder, const struct json_value *form, grammar_schema_node *schema_node,
                      void *context, struct memory_account *account);

#endif
