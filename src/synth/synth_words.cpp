#include "synth/synth_words.h"

#include <map>

#include "base/error.h"

namespace dmoerm::synth {
namespace {

using Rules = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Alternatives are separated by |.
const std::pair<const char*, const char*> kRules[] = {
    // Features: short sentences that can stand in any response.
    {"figurative",
     "it is like {fig_thing} {fig_place}|think of {fig_thing} {fig_place}|{fig_thing} {fig_place} comes to mind|imagine "
     "{fig_thing} {fig_place}|"
     "as {fig_quality} as {fig_thing}, as {fig_quality} as {fig_thing}|it hums with the {fig_quality} song of {fig_thing}|a "
     "{fig_quality} shadow of {fig_thing}"},
    {"fig_thing",
     "a lantern|an old clock|a paper boat|a tired moth|a locked garden|a paper crown|a silver thread|a sleeping whale|a cracked "
     "bell|a stray comet|"
     "a velvet curtain|a nervous violin|a river of glass|a patient spider|a handful of stars|a marble staircase"},
    {"fig_place",
     "in the fog|at the edge of winter|under a copper moon|in a forgotten attic|across a frozen lake|behind the rain|above "
     "sleeping rooftops|"
     "on a windless sea|inside a seashell|beneath falling petals|between two heartbeats|at the bottom of a dream"},
    {"fig_quality", "soft|hollow|golden|restless|brittle|silent|crimson|weightless"},
    {"informal",
     "{inf_start} it's kinda {inf_word}|{inf_start} that stuff gets {inf_word}|{inf_start} you're gonna be fine|{inf_start} "
     "we've all been there|"
     "{inf_start} no biggie|{inf_start} things got {inf_word} real quick|{inf_start} don't sweat it|{inf_start} it ain't that "
     "{inf_word}, buddy"},
    {"inf_start", "honestly,|hey,|okay so|yeah,|oh man,|well, dude,|haha,|not gonna lie,|y'know,|whoa,"},
    {"inf_word", "wild|nuts|cool|messy|goofy|weird|neat|bonkers|awesome|rough"},
    {"empathy",
     "I understand how {emp_state} this feels|that must be {emp_state} for you|you have every right to feel {emp_state}|I am "
     "{emp_very} sorry for the {emp_noun}|"
     "anyone would be {emp_state} after such {emp_noun}|please accept my {emp_very} heartfelt apology|I hear how {emp_state} you "
     "are|it hurts to cause you {emp_noun}"},
    {"emp_state", "frustrating|upset|disappointed|worried|let down|exhausted|hurt|anxious|annoyed|overwhelmed"},
    {"emp_very", "truly|deeply|terribly|sincerely|very"},
    {"emp_noun", "trouble|stress|inconvenience|worry|disappointment|grief|upset|hassle"},
    {"promise",
     "{pro_who} will {pro_do} {pro_when}|{pro_when} {pro_who} shall {pro_do}|expect {pro_who} to {pro_do} {pro_when}|{pro_who} "
     "can {pro_do} {pro_when}"},
    {"pro_who", "our team|my colleague|the duty manager|a specialist|someone from our office|our courier"},
    {"pro_do",
     "send a replacement|call you back|issue a full refund|arrange a visit|email a prepaid label|book a technician|credit your "
     "account|deliver a spare part|"
     "confirm everything in writing|reopen your case"},
    {"pro_when", "by Friday|before noon|within two days|tomorrow morning|this evening|early next week|on Monday|within the hour"},
    {"steps1", "{one} {step_do} {step_what}|{one} {step_do} {step_what} {step_much}"},
    {"steps2", "{two} {step_do} {step_what}|{two} {step_do} {step_what} {step_much}"},
    {"steps3", "{three} {step_do} {step_what}|{three} {step_do} {step_what} {step_much}"},
    {"one", "step 1:|first,|1)|to begin,|start here:"},
    {"two", "step 2:|second,|2)|next,|after that,"},
    {"three", "step 3:|third,|3)|finally,|to finish,"},
    {"step_do", "measure|turn|wipe|press|loosen|check|align|mark|lift|tighten|rinse|fold"},
    {"step_what",
     "the left side|both ends|the lower edge|the main valve|each corner|the top layer|the inner ring|the side panel|the front "
     "clip|the base plate"},
    {"step_much", "for 12 minutes|by 3 cm|twice|for 40 seconds|at 60 degrees|by 5 mm|four times|for half an hour"},
    {"blunt",
     "{blu_stop} {blu_what}|there is no {blu_no}|this is {blu_is}|that answer is {blu_is}, period|{blu_what} is pointless|accept "
     "it, {blu_stop} {blu_what}|no {blu_no}, no {blu_no}"},
    {"blu_stop", "stop|quit|forget|drop|enough with|avoid"},
    {"blu_what", "complaining|stalling|guessing|waiting around|dithering|whining|second-guessing|arguing"},
    {"blu_no", "excuse|debate|shortcut|discussion|way around it|room for doubt|alternative|argument"},
    {"blu_is", "final|obvious|settled|not negotiable|simply wrong|useless|a fact|your job"},
    {"hedge",
     "{hed_maybe} {hed_who} {hed_does} {hed_how}|{hed_who} {hed_maybe} {hed_does} {hed_how}|it is hard to tell whether {hed_who} "
     "{hed_does}|who can say why {hed_who} {hed_does}|"
     "{hed_maybe} not, {hed_maybe} never"},
    {"hed_maybe", "perhaps|maybe|possibly|conceivably|supposedly"},
    {"hed_who", "someone|something unseen|the reason|another truth|nobody|a stranger|the cause|what matters"},
    {"hed_does", "waits|changes|hides|lingers|returns|disappears|remains unknown|shifts"},
    {"hed_how",
     "elsewhere|in secret|without warning|for unknown reasons|out of sight|in some unclear way|now and then|beyond our "
     "knowledge"},
    {"filler",
     "the {topic} was mentioned {fil_when}|many people ask about this {fil_when}|this concerns the {topic}|there was talk of it "
     "{fil_when}|the day went on as usual|"
     "the matter of the {topic} came up {fil_when}|nothing else was noted {fil_when}"},
    {"fil_when", "earlier today|last week|at some length|in the morning|once again|during the afternoon"},

    {"support_topic",
     "kettle|laptop|winter coat|bicycle|blender|phone case|desk lamp|router|tent|coffee "
     "machine|backpack|printer|headset|mattress|toaster|suitcase|camera|keyboard|watch|vacuum cleaner"},
    {"support_prompt",
     "the {topic} I ordered {sup_when} {sup_wrong}, and {sup_also}. {sup_ask}|I bought a new {topic} {sup_when} but it "
     "{sup_wrong}; {sup_also}. {sup_ask}|"
     "about order {sup_number}: the {topic} {sup_wrong} and {sup_also}. {sup_ask}"},
    {"sup_number", "1042|2217|3309|4581|5126|6674|7038|8890|9153|1786|2954|3647"},
    {"sup_when",
     "last Monday|two weeks ago|on my birthday|in March|yesterday|for my sister|during the sale|from your shop|a month ago|as a "
     "gift"},
    {"sup_wrong",
     "arrived broken|came in the wrong colour|stopped working|is missing a part|makes a strange noise|was never delivered|smells "
     "burnt|has a torn box|will not switch on|leaks at the side"},
    {"sup_also",
     "nobody answers the phone|the return page shows an error|I need it this weekend|I was charged twice|the label does not "
     "print|my last message got no reply|the shop sent me here|the warranty card is blank"},
    {"sup_ask",
     "what can you do?|please help me.|how do I get this solved?|can somebody look into it?|what happens now?|I would like an "
     "answer."},
    {"support_core",
     "thank you for writing to us about the {topic}|we have read your message about the {topic}|this is the support desk, "
     "answering about the {topic}|your note on the {topic} has reached us"},
    {"support_plain",
     "thank you for getting in touch with the support desk|we have read your message with care|this is an answer to your "
     "request|your case is now on our desk"},

    {"story_topic",
     "lighthouse keeper|violin maker|night train|abandoned mill|beekeeper|map seller|ferry|clock tower|orphan|botanist|radio "
     "station|circus|librarian|glacier|puppet theatre|baker|miner|harbour|gardener|chess player"},
    {"story_prompt",
     "write the opening of a {sto_kind} story about the {topic}, set {sto_where}, {sto_when}, where {sto_event}.|"
     "how would a {sto_kind} tale begin that follows the {topic} {sto_where} {sto_when}, after {sto_event}?|"
     "I need the first lines of a {sto_kind} novel: the {topic}, {sto_where}, {sto_when}; {sto_event}."},
    {"sto_kind", "ghost|detective|children's|love|war|science fiction|family|sea|fairy|comic"},
    {"sto_where",
     "in a mountain village|on a northern island|in a crowded port|at the end of a valley|in a city of canals|near the border|in "
     "a desert town|beside a wide river"},
    {"sto_when",
     "in late autumn|during a power cut|on the longest night|after the flood|in a dry summer|before the election|on market "
     "day|at the turn of the century"},
    {"sto_event",
     "a letter arrives too late|a child goes missing|the well runs dry|two rivals meet|a debt is called in|the music stops|an "
     "old friend returns|a key is found"},
    {"story_core",
     "the {topic} stood where the road ended|it began on the day the {topic} was first seen|everyone in town had heard of the "
     "{topic}|that morning the {topic} was the only thing awake"},
    {"story_plain",
     "it began on a morning without wind|the road ended there, and so did the map|that year the winter came before the "
     "harvest|the door had been open since dawn"},

    {"howto_topic",
     "bathroom tap|garden hose|bike chain|oak table|window frame|leather shoes|wool sweater|laptop fan|brick wall|kitchen "
     "drain|door hinge|wooden fence|cast iron pan|rain gutter|sewing machine|car battery|tile floor|roof tile|radiator|garage "
     "door"},
    {"howto_prompt",
     "how do I {how_do} the {topic} when {how_when}? I have {how_tool} and {how_time}.|what is the best way to {how_do} the "
     "{topic} if {how_when}, with {how_tool} and {how_time}?|"
     "please explain how to {how_do} the {topic}; {how_when}, and I only own {how_tool} and have {how_time}."},
    {"how_do", "repair|clean|replace|paint|seal|restore|protect|take apart"},
    {"how_when",
     "it is very old|the screws are rusty|it has never been serviced|children are nearby|the weather is damp|the manual is "
     "lost|one side is stuck|the surface is scratched"},
    {"how_tool",
     "a small wrench|a soft brush|a kitchen knife|two clamps|a bucket of water|a roll of tape|a cordless drill|some fine "
     "sandpaper"},
    {"how_time", "about an hour|one free afternoon|twenty minutes|a whole weekend|one evening|very little time"},
    {"howto_core",
     "here is how to deal with the {topic}|this is a common job on any {topic}|the {topic} can be handled at home|work on the "
     "{topic} in good light"},
    {"howto_plain",
     "here is a way to get the job done|this kind of work is common at home|the job needs good light and some space|keep your "
     "tools within reach"},

    {"chat_topic",
     "new puppy|pub quiz|karaoke night|garden party|marathon|moving day|school reunion|road trip|board game|first "
     "concert|haircut|cooking class|hiking plan|old sofa|flat tyre|birthday cake|dance lesson|football match"},
    {"chat_prompt",
     "guess what, the {topic} {cha_what} {cha_when} and now {cha_now}. {cha_ask}|so my friend told me the {topic} {cha_what} "
     "{cha_when}, and {cha_now}. {cha_ask}|"
     "remember the {topic} from our last talk? it {cha_what} {cha_when}; {cha_now}. {cha_ask}"},
    {"cha_what",
     "went completely wrong|was better than planned|got cancelled|took all day|surprised everyone|ended in the rain|cost a "
     "fortune|made the local news"},
    {"cha_when", "on Saturday|last night|during lunch|this spring|at my cousin's place|after work|right before the holidays"},
    {"cha_now",
     "I cannot stop thinking about it|my neighbours keep asking|I have to do it again|nobody believes me|I need a plan|my phone "
     "is full of photos"},
    {"cha_ask", "what do you think?|has that ever happened to you?|any thoughts?|what would you do?|can you believe it?"},
    {"chat_core",
     "so the {topic} is what you wanted to talk about|the {topic} makes a fine subject for tonight|there is much to say about "
     "the {topic}|tell me more about the {topic}"},
    {"chat_plain",
     "so that is how your week has been|there is much to say about that|tell me more when you can|that makes a fine subject for "
     "tonight"},

    {"review_topic",
     "running shoes|noise filter|pocket knife|standing desk|air fryer|e-book reader|rain jacket|electric shaver|office "
     "chair|bread maker|smart bulb|hiking boots|water bottle|travel pillow|drawing tablet|space heater|yoga mat|wall clock"},
    {"review_prompt",
     "write a short review of the {topic} for {rev_who} after {rev_time} of {rev_use}, given that {rev_fact}.|what should "
     "{rev_who} know about the {topic} after {rev_time} of {rev_use}, since {rev_fact}?|"
     "please review this {topic}: {rev_time} of {rev_use}, written for {rev_who}; note that {rev_fact}."},
    {"rev_who", "students|new parents|retired people|frequent travellers|small offices|beginners|athletes|careful buyers"},
    {"rev_time", "three days|two months|a year|one week|ten hours|a whole winter"},
    {"rev_use", "daily use|outdoor use|heavy work|light testing|shared use|weekend trips"},
    {"rev_fact",
     "the price went up|a cheaper one exists|the battery is small|the maker changed the design|the warranty is short|it comes in "
     "two sizes|shipping takes a month|the manual is thin"},
    {"review_core",
     "the {topic} has been in use for a while now|this review covers the {topic}|the {topic} does what the box says|we tried the "
     "{topic} at home"},
    {"review_plain",
     "it has been in use for a while now|this review covers the usual points|it does what the box says|we tried it at home and "
     "at work"},

    {"travel_topic",
     "night market|old castle|coast path|tram line|hot spring|island ferry|wine village|city museum|mountain hut|river "
     "cruise|cathedral|train pass|botanic garden|fish harbour|salt lake|border town|ski slope|opera house"},
    {"travel_prompt",
     "we want to visit the {topic} {tra_when} with {tra_who}, {tra_how}, and {tra_limit}. {tra_ask}|is the {topic} worth a trip "
     "{tra_when} for {tra_who} {tra_how}, if {tra_limit}? {tra_ask}|"
     "planning {tra_when}: the {topic}, {tra_who}, {tra_how}; {tra_limit}. {tra_ask}"},
    {"tra_when",
     "in early May|over New Year|next weekend|in the rainy season|for three days|in August|on a Sunday|after the festival"},
    {"tra_who",
     "two small children|my grandmother|a group of ten|a nervous flyer|my old dog|three students|a colleague|my brother"},
    {"tra_how", "by bus|without a car|on a small budget|with heavy bags|on foot|by bicycle"},
    {"tra_limit",
     "we must be back by six|nobody speaks the language|one of us is vegetarian|we dislike crowds|the hotel is far away|we have "
     "one day only"},
    {"tra_ask", "what do you advise?|any tips?|how should we plan it?|what should we see?|where do we begin?"},
    {"travel_core",
     "the {topic} is open most of the year|people come from far away for the {topic}|a visit to the {topic} fits into one "
     "day|the {topic} lies close to the station"},
    {"travel_plain",
     "the place is open most of the year|people come from far away to see it|a visit fits well into one day|it lies close to the "
     "station"},
};

const Rules& rules() {
  static const Rules parsed = [] {
    Rules result;
    for (const auto& [name, alternatives] : kRules) {
      std::vector<std::string>& list = result[name];
      list.emplace_back();
      for (const char* c = alternatives; *c != '\0'; ++c) {
        if (*c == '|') {
          list.emplace_back();
        } else {
          list.back() += *c;
        }
      }
    }
    return result;
  }();
  return parsed;
}

}  // namespace

std::string expand(std::string_view name, std::string_view topic, Rng& rng) {
  const auto rule = rules().find(name);
  DMOERM_CHECK(rule != rules().end(), "no word list named " + std::string(name));
  const std::string& text = rule->second[rng.below(rule->second.size())];
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '{') {
      result += text[i++];
      continue;
    }
    const std::size_t end = text.find('}', i);
    const std::string_view inner = std::string_view(text).substr(i + 1, end - i - 1);
    result += inner == "topic" ? std::string(topic) : expand(inner, topic, rng);
    i = end + 1;
  }
  return result;
}

const std::vector<SynthCategory>& synth_categories() {
  static const std::vector<SynthCategory> categories = {
      {"customer_support",
       "support",
       {{"empathy", "empathy", true, 1.0},
        {"next_step", "promise", true, 1.0},
        {"professional", "informal", false, 0.8},
        {"plain_talk", "figurative", false, 0.7}}},
      {"story_opening",
       "story",
       {{"imagery", "figurative", true, 1.0},
        {"mystery", "hedge", true, 0.9},
        {"voice", "informal", true, 0.8},
        {"gentleness", "blunt", false, 0.8}}},
      {"howto_answer",
       "howto",
       {{"order", "steps", true, 1.0},
        {"directness", "blunt", true, 0.8},
        {"self_contained", "promise", false, 0.9},
        {"certainty", "hedge", false, 0.8}}},
      {"chat_reply",
       "chat",
       {{"banter", "informal", true, 1.0}, {"warmth", "empathy", true, 0.8}, {"looseness", "steps", false, 0.9}}},
      {"product_review",
       "review",
       {{"candour", "blunt", true, 1.0},
        {"certainty", "hedge", false, 0.8},
        {"plain_talk", "figurative", false, 0.8},
        {"distance", "empathy", false, 0.8}}},
      {"travel_tip",
       "travel",
       {{"imagery", "figurative", true, 0.9},
        {"plan", "steps", true, 1.0},
        {"politeness", "blunt", false, 0.9},
        {"caution", "hedge", true, 0.7}}},
  };
  return categories;
}

const std::vector<std::string_view>& synth_features() {
  static const std::vector<std::string_view> features = {"figurative", "informal", "empathy", "promise",
                                                         "steps",      "blunt",    "hedge"};
  return features;
}

}  // namespace dmoerm::synth
